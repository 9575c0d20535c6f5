"""
The delete step: what a batch keeps that is older than ``delete_after_n_days`` before a moment, and is finished.

The age counts from the run's own time and not from the clock, so a run of the past deletes what it would have deleted
then, and the same run again finds nothing to do.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pandas as pd

from anomstack_provider.artifacts.tidying import tidy
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection.feedback import ROW_TYPES
from anomstack_provider.steps import feedback
from anomstack_provider.steps.train import model_key

if TYPE_CHECKING:
    from anomstack_provider.artifacts.model_store import ModelStore
    from anomstack_provider.store.ledger import DeliveryLedger
    from anomstack_provider.store.metric_store import MetricStore

# Beyond the end of an event nothing asks for its deliveries, but that a budget counts those of a week.
_AFTER_EVENT = timedelta(days=14)
# No task takes longer to write a bundle, or to read one.
_IN_USE = timedelta(days=1)


def cutoff(spec: BatchSpec, as_of: datetime) -> datetime:
    """Return the moment before which rows are deleted by a run as of an aware time."""
    return as_of - timedelta(days=spec.delete_after_n_days)


def delete_rows(spec: BatchSpec, as_of: datetime, store: MetricStore) -> int:
    """
    Delete the batch's rows of every type before the cutoff; return how many.

    A snooze of a metric that holds beyond the cutoff stays. Other verdicts act on their own bucket, or on the event
    that it is in, and go with them.
    """
    before = cutoff(spec, as_of)
    return store.delete_before(before, spare=_snoozes(store, before))


def delete_deliveries(spec: BatchSpec, as_of: datetime, ledger: DeliveryLedger) -> int:
    """
    Delete what the ledger knows of deliveries that were sent or suppressed and recorded before the cutoff.

    Nothing is younger than the event it tells of, so without its row and without those of the metric nothing is sent
    twice. What an event needs until it is over stays, however soon rows are deleted.
    """
    return ledger.delete_finished(min(cutoff(spec, as_of), as_of - spec.event_expires - _AFTER_EVENT))


def delete_models(spec: BatchSpec, now: datetime, models: ModelStore) -> list[str]:
    """
    Remove models that no run reads any more; return their paths.

    :param now: the present, aware: how old a file is depends on when it was written, whatever its models are of.
    """
    wanted = model_key(spec, now.replace(microsecond=0)).config_hash
    return tidy(models.files, spec.metric_batch, spec.model_keep_versions, wanted, spec.shards, now - _IN_USE)


def _snoozes(store: MetricStore, before: datetime) -> pd.DataFrame:
    """Return the keys of the verdicts before a moment by which a metric is snoozed beyond it."""
    keys = [
        (name, row_type, verdict.bucket)
        for name, verdicts in feedback.read(store, before).items()
        for verdict in verdicts
        if verdict.until is not None and verdict.until > before
        for row_type in ROW_TYPES.values()
    ]
    frame = pd.DataFrame(sorted(set(keys)), columns=["metric_name", "metric_type", "metric_timestamp"])
    return frame.astype({"metric_name": object, "metric_type": object}).assign(
        metric_timestamp=pd.to_datetime(frame["metric_timestamp"], utc=True)
        .dt.tz_localize(None)
        .astype("datetime64[us]")
    )
