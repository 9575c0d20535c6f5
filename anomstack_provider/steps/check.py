"""What a batch needs to run, asked for real: each check yields what it found, and nothing where all is well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from anomstack_provider.artifacts.errors import ModelRefused
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.config.values import format_duration
from anomstack_provider.detection.series import split
from anomstack_provider.runtime.ticks import last_interval, last_tick
from anomstack_provider.steps.train import model_key

if TYPE_CHECKING:
    from anomstack_provider.artifacts.model_store import ModelStore
    from anomstack_provider.store.ledger import DeliveryLedger
    from anomstack_provider.store.metric_store import MetricStore

# A run or two may be late, or on the way.
_LATE_INTERVALS = 3


@dataclass(frozen=True)
class Finding:
    """
    One thing that someone should look at.

    :param what: ``connections``, ``database``, ``metrics table``, ``deliveries``, ``model store``, ``models``
        or ``keys``.
    :param is_broken: False for what needs nobody to act now.
    """

    what: str
    text: str
    is_broken: bool = True


def metrics_table(spec: BatchSpec, as_of: datetime, store: MetricStore) -> Iterator[Finding]:
    """
    Ask for the table and its columns; raises what the database says of one that lacks some.

    Its newest row must not be older than the schedule and the usual distance of rows explain.
    """
    if not store.has_table():
        yield Finding("metrics table", f"there is no table {spec.table_key!r} yet: nothing was ingested", False)
        return
    newest = store.newest_timestamp("metric", as_of)
    if newest is None:
        yield Finding("metrics table", "there are no rows yet", False)
        return
    start, end = last_interval(spec.cron, spec.timezone, as_of)
    if as_of - newest <= _LATE_INTERVALS * (end - start) + spec.completeness_delay:
        return
    allowed = _LATE_INTERVALS * max(end - start, _usual_step(store, newest)) + spec.completeness_delay
    if as_of - newest > allowed:
        span = format_duration(allowed)
        text = f"the newest row is of {_text(newest)}, expected one of the {span} before {_text(as_of)}"
        yield Finding("metrics table", text, False)


def deliveries(ledger: DeliveryLedger) -> Iterator[Finding]:
    """Look for deliveries that were given up, and for those that a channel has refused so far."""
    unsent = ledger.unsent()
    for status, meaning in (("abandoned", "given up"), ("failed", "refused so far")):
        by_channel = {row.channel: row for row in unsent if row.status == status}
        for channel, example in sorted(by_channel.items()):
            count = sum(row.channel == channel and row.status == status for row in unsent)
            reason = (example.error or "no reason noted").strip().splitlines()[0][:300]
            yield Finding(
                "deliveries", f"{count} to {channel or 'nobody'} {meaning}, such as {example.event_id}: {reason}"
            )


def models(spec: BatchSpec, as_of: datetime, store: ModelStore) -> Iterator[Finding]:
    """Look for models that are missing, of another config, older than the schedule of training, or refused."""
    if spec.is_off("train") and spec.is_off("score"):
        return
    versions = store.versions(spec.metric_batch)
    due = last_tick(spec.train_cron_schedule, spec.timezone, as_of)
    wanted = model_key(spec, due).config_hash
    own = [tick for tick, config in versions if config == wanted]
    if not own:
        which = "of another config" if versions else "missing"
        yield Finding("models", f"all models are {which}; the next run trains them", False)
        return
    before = last_tick(spec.train_cron_schedule, spec.timezone, due)
    if own[-1] < last_tick(spec.train_cron_schedule, spec.timezone, before):
        yield Finding("models", f"the newest ones are as of {_text(own[-1])}, due since {_text(before)}", False)
    for shard in range(spec.shards):
        try:
            if store.find(model_key(spec, own[-1], shard, spec.shards)) is None:
                text = f"shard {shard} of {spec.shards} has none as of {_text(own[-1])}; scoring trains them"
                yield Finding("models", text, False)
        except ModelRefused as refused:
            yield Finding("models", f"{refused} Scoring trains them again.", False)


def _usual_step(store: MetricStore, newest: datetime) -> timedelta:
    """Return the greatest usual distance of the rows of any metric that has a recent one."""
    since = newest - timedelta(days=400)
    frame = store.read(["metric"], since=since, until=newest + timedelta(microseconds=1), newest=4)
    steps = [np.median(np.diff(series.times)) for series in split(frame).values() if len(series) > 1]
    longest: timedelta = max(steps).astype("timedelta64[us]").item() if steps else timedelta(0)
    return longest


def _text(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
