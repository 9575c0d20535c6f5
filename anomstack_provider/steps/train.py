"""The train step: models as of the train ticks that fall inside a run's window, stored for the score step."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np

from anomstack_provider.artifacts.model_store import ModelKey, ModelRefused
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection.pipeline import RECIPE_VERSION
from anomstack_provider.runtime.ticks import last_tick, tick_at_or_before
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.outcomes import StepResult
from anomstack_provider.steps.ports import MetricRows, Models
from anomstack_provider.steps.training import (
    History,
    Trained,
    histories_as_of,
    read_history,
    stamp,
    train_batch,
    training_limits,
)

log = logging.getLogger(__name__)

# A window in which buckets ask for more ticks than this trains the newest ones; the score step trains the others.
_MAX_TICKS = 8


def model_key(spec: BatchSpec, tick: datetime, shard: int = 0, shards: int = 1) -> ModelKey:
    """Return the identity of the models of a train tick: batch, tick, config, code, shard."""
    return ModelKey(spec.metric_batch, tick, f"{spec.config_hash()}-r{RECIPE_VERSION}", shard, shards)


def is_stored(models: Models, key: ModelKey) -> bool:
    """Whether usable models are stored under that key."""
    try:
        return models.find(key) is not None
    except ModelRefused as refused:
        log.warning("%s; training again", refused)
        return False


def train(
    spec: BatchSpec, window: RunWindow, store: MetricRows, models: Models, *, shard: int = 0, shards: int = 1
) -> StepResult:
    """
    Train and store the models of the ticks that are due; the outcomes are those of the newest.

    Due are the ticks inside the window that its buckets are scored with, or the newest one if there are no buckets.
    With no tick inside, the newest before the window is due if it has no usable model, so that the first run of a
    batch, or the first after a change of its config, trains.

    :return: a result whose facts hold ``ticks``, empty when the step was not due.
    """
    newest = last_tick(spec.train_cron_schedule, spec.timezone, window.end)
    if newest < window.start and is_stored(models, model_key(spec, newest, shard, shards)):
        return StepResult("train", facts={"ticks": []})
    histories = read(spec, window, store, shard, shards)
    ticks = _asked_for(spec, window, histories) or [newest]
    trained = Trained({}, {})
    for tick in ticks:
        as_of = histories_as_of(spec, store, histories, tick, shard, shards, spec.train_exclude_metrics)
        trained = train_batch(spec, as_of, tick)
        save(models, model_key(spec, tick, shard, shards), trained)
    models.prune(spec.metric_batch, spec.model_keep_versions, spare=ticks)
    for name, outcome in trained.outcomes.items():
        log.info("metric %r: %s as of %s", name, outcome, ticks[-1].isoformat())
    return StepResult("train", outcomes=trained.outcomes, facts={"ticks": [tick.isoformat() for tick in ticks]})


def read(spec: BatchSpec, window: RunWindow, store: MetricRows, shard: int, shards: int) -> dict[str, History]:
    """Return what the models of every tick that can be due in the window are made of."""
    newest = last_tick(spec.train_cron_schedule, spec.timezone, window.end)
    limits = training_limits(spec, min(newest, window.start), window.end)
    return read_history(spec, store, shard, shards, spec.train_exclude_metrics, **limits)


def _asked_for(spec: BatchSpec, window: RunWindow, histories: Mapping[str, History]) -> list[datetime]:
    """Return the ticks inside the window that the models of its buckets belong to, oldest first."""
    starts = [
        points.times[points.before(stamp(window.start)) : points.before(stamp(window.end))]
        for points in (history.points for history in histories.values())
    ]
    ticks = {scoring_tick(spec, start) for start in np.unique(np.concatenate(starts))} if starts else set()
    return sorted(tick for tick in ticks if tick >= window.start)[-_MAX_TICKS:]


def scoring_tick(spec: BatchSpec, start: np.datetime64) -> datetime:
    """Return the train tick whose models score the bucket that begins at ``start``: the newest not after it."""
    moment: datetime = start.astype("datetime64[us]").item()
    return tick_at_or_before(spec.train_cron_schedule, spec.timezone, moment.replace(tzinfo=UTC))


def save(models: Models, key: ModelKey, trained: Trained) -> None:
    """Store the models of a tick together with what became of every metric."""
    models.save(key, trained.models, {"outcomes": dict(trained.outcomes)})
