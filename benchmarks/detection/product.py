"""Our own scores and alerts: each batch through the product's preview, which runs the steps that a DAG runs."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC
from typing import Any

import pandas as pd

from benchmarks.detection.dataset import Dataset

# Upstream's models, given explicitly, are the compatible recipe; a version that names recipes is told so too.
_COMPATIBLE: dict[str, Any] = {
    "train_cron_schedule": "@daily",
    "model_configs": [
        {"model_name": "PCA", "model_tag": "pca_default", "model_params": {"contamination": 0.01}},
        {"model_name": "KNN", "model_tag": "knn_default", "model_params": {"contamination": 0.01}},
    ],
}

OURS, COMPATIBLE = "ours", "compatible recipe"


def settings(method: str) -> dict[str, Any]:
    """Return the keys that a method sets beside those of every batch: none for ours, which is the shipped default."""
    from anomstack_provider.config.spec import BatchSpec

    if method == OURS:
        return {}
    return {**_COMPATIBLE, **({"recipe": "anomstack"} if "recipe" in BatchSpec.model_fields else {})}


def preview(method: str, batch: Dataset) -> pd.DataFrame:
    """
    Return series, timestamp, score and alerted of every row of one batch.

    :param batch: series that begin, are judged from and end together, see :meth:`Dataset.batches`.
    """
    os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp())
    from anomstack_provider.config.spec import BatchSpec
    from anomstack_provider.runtime.window import RunWindow
    from anomstack_provider.steps import preview as preview_step
    from anomstack_provider.steps.overlay import MemoryRows

    spec = BatchSpec.model_validate(
        {
            "metric_batch": "benchmark",
            "ingest_sql": "-",
            "schedule": batch.schedule,
            **settings(method),
        }
    )
    stored = batch.rows.rename(
        columns={"series": "metric_name", "timestamp": "metric_timestamp", "value": "metric_value"}
    )
    table = MemoryRows()
    table.replace(stored.assign(metric_type="metric", metadata=None))
    found = preview_step.preview(spec, RunWindow(*_period(batch)), table)
    scores = found.scores.rename(columns={"metric_name": "series", "metric_timestamp": "timestamp"})
    scores = scores[["series", "timestamp", "score", "alerted"]].astype({"timestamp": "datetime64[us]"})
    table_of_all = batch.rows[["series", "timestamp"]].merge(scores, on=["series", "timestamp"], how="left")
    return table_of_all.fillna({"alerted": 0}).astype({"alerted": int})


def _period(batch: Dataset) -> tuple[Any, Any]:
    """Return the period to preview, from the warm-up before the first judged bucket to the end of the last one."""
    start = pd.Timestamp(next(iter(batch.labels.values()))["score_from"]) - batch.warm_up * batch.step
    end = batch.rows["timestamp"].max() + batch.step
    return start.to_pydatetime().replace(tzinfo=UTC), end.to_pydatetime().replace(tzinfo=UTC)


def load() -> None:
    """Import all that a preview needs, so that imports are not measured."""
    times = pd.date_range("2024-01-01", periods=24 * 16, freq="h")
    rows = pd.DataFrame({"series": "load", "timestamp": times, "value": [float(i % 24) for i in range(len(times))]})
    begin = times[-24].isoformat()
    label: Any = {"step_s": 3600.0, "score_from": begin, "family": "", "events": [], "ignore": []}
    batch = Dataset("load", rows.astype({"timestamp": "datetime64[us]"}), {"load": label})
    for method in (OURS, COMPATIBLE):
        preview(method, batch)
