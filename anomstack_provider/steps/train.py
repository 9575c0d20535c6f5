"""The train step: models as of the train ticks that fall inside a run's window, stored for the score step."""

from __future__ import annotations

import logging
from datetime import datetime
from itertools import islice

from anomstack_provider.artifacts.model_store import ModelKey, ModelRefused
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection.pipeline import RECIPE_VERSION
from anomstack_provider.runtime.ticks import last_tick, ticks_within
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.outcomes import StepResult
from anomstack_provider.steps.ports import MetricRows, Models
from anomstack_provider.steps.training import Trained, read_series, select, train_batch, training_limits

log = logging.getLogger(__name__)

# A window that spans more train ticks than this trains the newest ones; the score step trains others if a bucket asks.
_MAX_TICKS = 8


def model_key(spec: BatchSpec, tick: datetime, shard: int = 0, shards: int = 1) -> ModelKey:
    """Return the identity of the models of a train tick: batch, tick, config, code, shard."""
    return ModelKey(spec.metric_batch, tick, f"{spec.config_hash()}-r{RECIPE_VERSION}", shard, shards)


def due_ticks(spec: BatchSpec, window: RunWindow, models: Models, shard: int = 0, shards: int = 1) -> list[datetime]:
    """
    Return the train ticks that this run trains, oldest first; empty if the step is not due.

    Due are the ticks inside the window. Without one the newest tick before the window is due if it has no usable model,
    so that the first run of a batch, or the first after a change of its config, trains.
    """
    inside = list(islice(ticks_within(spec.train_cron_schedule, spec.timezone, window.start, window.end), _MAX_TICKS))
    if inside:
        return inside[::-1]
    standing = last_tick(spec.train_cron_schedule, spec.timezone, window.start)
    return [] if is_stored(models, model_key(spec, standing, shard, shards)) else [standing]


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
    Train and store the models of every due tick; the outcomes are those of the newest.

    :return: a result whose facts hold ``ticks``, empty when the step was not due.
    """
    ticks = due_ticks(spec, window, models, shard, shards)
    if not ticks:
        return StepResult("train", facts={"ticks": []})
    everything = read_series(spec, store, **training_limits(spec, ticks[0], ticks[-1]))
    series = select(everything, spec.train_exclude_metrics, shard, shards)
    trained = Trained({}, {})
    for tick in ticks:
        trained = train_batch(spec, series, tick)
        save(models, model_key(spec, tick, shard, shards), trained)
    models.prune(spec.metric_batch, spec.model_keep_versions, spare=ticks)
    for name, outcome in trained.outcomes.items():
        log.info("metric %r: %s as of %s", name, outcome, ticks[-1].isoformat())
    return StepResult("train", outcomes=trained.outcomes, facts={"ticks": [tick.isoformat() for tick in ticks]})


def save(models: Models, key: ModelKey, trained: Trained) -> None:
    """Store the models of a tick together with what became of every metric."""
    models.save(key, trained.models, {"outcomes": dict(trained.outcomes)})
