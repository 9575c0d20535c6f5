"""
The alert step: what is found in the buckets that closed in the window becomes events, stored as alert rows.

It reads scores and decides by the rules, gates and events of ``alerting``; sending is the operator's, through the
delivery ledger.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.alerting.transitions import WITHDRAWN, stored_rows
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.deciding import Deciding, Keys
from anomstack_provider.steps.groups import groups_of
from anomstack_provider.steps.outcomes import StepResult
from anomstack_provider.steps.ports import COLUMNS, KEY, MetricRows, Models
from anomstack_provider.steps.tracks import Stopped
from anomstack_provider.steps.training import shard_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AlertResult:
    """
    Alerts of the window, oldest first, and what became of each metric.

    :param stopped: findings of the window that a gate kept from alerting.
    :param missing: every bucket that is late by now with its metric; the batch's own under its name.
    """

    alerts: tuple[Alert, ...]
    result: StepResult
    stopped: tuple[Stopped, ...] = ()
    missing: frozenset[tuple[str, datetime]] = frozenset()


def alert(spec: BatchSpec, window: RunWindow, store: MetricRows, models: Models) -> AlertResult:
    """
    Decide the alerts of the window and store them.

    Looked at are the buckets that closed in the window, the newest ``alert_recent_n`` and as many before those as can
    mute them; what is found again was sent before, which the ledger knows. Where the fold over earlier buckets needs
    scores that no run has written yet, they are computed here, so the answer never depends on which runs came before.
    A batch of several shards is worked through shard by shard, and each has a transaction of its own.
    """
    groups = groups_of(spec, store, window.end)
    deciding = Deciding(spec, window, store, groups)
    for group in groups:
        deciding.judge(group, store, models)
    missing = deciding.late_data()
    found = result_of(deciding, missing)
    kept = stored(store, deciding.told.clear)
    by_shard: dict[int, tuple[list[Alert], list[Keys]]] = {}
    for one in found.alerts:
        by_shard.setdefault(shard_of(one.metric_name, spec.shards), ([], []))[0].append(one)
    for keys in deciding.told.clear:
        by_shard.setdefault(shard_of(keys[0], spec.shards), ([], []))[1].append(keys)
    written = sum(_write(store, alerts, keys, kept) for _, (alerts, keys) in sorted(by_shard.items()))
    _log(found)
    return replace(found, result=replace(found.result, rows=written))


def result_of(deciding: Deciding, missing: frozenset[tuple[str, datetime]]) -> AlertResult:
    """Return what was decided, in an order that the groups have no part in."""
    told = deciding.told
    alerts = sorted(told.alerts, key=lambda a: (a.bucket, a.metric_name, a.kind))
    stopped = sorted(told.stopped, key=lambda one: one.metric_name)
    facts = {
        "suppressed": told.suppressed,
        "transitions": dict(Counter(a.transition for a in alerts)),
        "stopped": dict(sorted(Counter(one.gate for one in stopped).items())),
    }
    result = StepResult("alert", outcomes=dict(sorted(told.outcomes.items())), facts=facts)
    return AlertResult(tuple(alerts), result, tuple(stopped), missing)


def is_told(spec: BatchSpec, found: Alert) -> bool:
    """Whether an alert goes out to people: the end of an event only if the batch wants it."""
    return found.transition != "closed" or spec.notify_closed


def stored(store: MetricRows, keys: Sequence[Keys]) -> pd.DataFrame:
    """Return the alert rows that are stored in the time of these keys, and maybe of others."""
    times = [times for _, _, times in keys if len(times)]
    if not times:
        return alert_rows([])
    since, newest = min(part.min() for part in times), max(part.max() for part in times)
    kinds = sorted({kind for _, kind, _ in keys})
    return store.read(kinds, since=_aware(since), until=_aware(newest + np.timedelta64(1, "us")))


def _write(store: MetricRows, alerts: list[Alert], keys: list[Keys], kept: pd.DataFrame) -> int:
    """
    Replace the alert rows of the buckets that were looked at, of ``kept`` those that no longer hold by a record.

    The record has the row's type with an end that says so; it goes when the alert holds again.
    """
    if not keys:
        return 0
    clear = pd.DataFrame(
        {
            "metric_name": np.concatenate([np.full(len(times), name, object) for name, _, times in keys]),
            "metric_type": np.concatenate([np.full(len(times), kind, object) for _, kind, times in keys]),
            "metric_timestamp": np.concatenate([times for _, _, times in keys]),
        }
    )
    rows, clear = alert_rows(alerts), clear.drop_duplicates()
    of_keys = kept.merge(clear, on=KEY)
    gone = of_keys.merge(rows[KEY], on=KEY, how="left", indicator="found")
    gone = gone[gone["found"] == "left_only"][COLUMNS]
    again = rows[KEY].assign(metric_type=rows["metric_type"] + WITHDRAWN)
    gone["metric_type"] += WITHDRAWN
    parts = [part for part in (rows, gone) if len(part)]
    store.replace(pd.concat(parts) if parts else rows, clear=pd.concat([clear, again]))
    return len(rows)


def alert_rows(alerts: Sequence[Alert]) -> pd.DataFrame:
    """Return alerts as rows of the metrics table."""
    rows = pd.DataFrame(stored_rows(alerts), columns=COLUMNS)
    rows["metric_timestamp"] = rows["metric_timestamp"].astype("datetime64[us]")
    return rows


def _aware(moment: np.datetime64) -> datetime:
    found: datetime = moment.astype("datetime64[us]").item()
    return found.replace(tzinfo=UTC)


def _log(result: AlertResult) -> None:
    for found in result.alerts:
        log.info(
            "%s: metric %r, bucket %s: value %s, expected %s, score %s",
            found.transition,
            found.metric_name,
            found.bucket.isoformat(),
            found.value,
            found.expected,
            found.score,
        )
    for one in result.stopped:
        log.info("stopped by %s: metric %r, bucket %s: value %s", one.gate, one.metric_name, one.bucket, one.value)
