"""One metric in a thousand is poisoned, in each of many ways: the others get the same rows, and it is said."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from airflow.sdk import DAG

from anomstack_provider import AnomstackIngestOperator
from anomstack_provider.artifacts.model_store import open_model_store
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.runtime.airflow_compat import AirflowFailException
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.alert import alert
from anomstack_provider.steps.ingest import ingest
from anomstack_provider.steps.outcomes import StepResult
from anomstack_provider.steps.score import score
from anomstack_provider.steps.train import train
from anomstack_provider.store.hooks import EmbeddedDuckDBHook
from anomstack_provider.store.metric_store import MetricStore

METRICS, DAYS = 1000, 30
LAST = pd.Timestamp("2024-02-09")
WINDOW = RunWindow(datetime(2024, 2, 9, tzinfo=UTC), datetime(2024, 2, 10, tzinfo=UTC))
CONFIG = {
    "metric_batch": "b",
    "ingest_sql": "select 1",
    "schedule": "@daily",
    "train_cron_schedule": "@daily",
    "ingest_metric_rounding": -1,
}
SPEC = BatchSpec.model_validate(CONFIG)
HOSTILE = "m\x00\x01\x1b[2J\r\n\u202e'\"; DROP TABLE metrics; --"

Change = Callable[[pd.DataFrame], pd.DataFrame]


def last(**cells: Any) -> Change:
    """Change cells of the metric's last row."""

    def change(own: pd.DataFrame) -> pd.DataFrame:
        for column, value in cells.items():
            own.iat[-1, own.columns.get_loc(column)] = value
        return own

    return change


# What is done to a metric, and what the ingest step says of it; None: nothing, it is data like any other.
POISONS: dict[str, tuple[Change, str | None]] = {
    "nan": (last(metric_value=float("nan")), None),
    "null": (last(metric_value=None), None),
    "nothing but nan": (lambda own: own.assign(metric_value=float("nan")), None),
    "infinite": (last(metric_value=float("-inf")), "metric_value is infinite"),
    "enormous": (last(metric_value=1e308), None),
    "enormous both ways": (lambda own: own.assign(metric_value=[1.7e308, -1.7e308] * (DAYS // 2)), None),
    "tiny": (lambda own: own.assign(metric_value=5e-324), None),
    "text": (last(metric_value="many"), "metric_value is not a number"),
    "no time": (last(metric_timestamp="the day after"), "metric_timestamp is not a time"),
    "a number as time": (last(metric_timestamp=1714521600), "metric_timestamp is not a time"),
    "the clock as time": (last(metric_timestamp="now"), "metric_timestamp is not a time"),
    "year 9999": (last(metric_timestamp="9999-12-31T23:59:59"), None),
    "year 1": (last(metric_timestamp="0001-01-01"), None),
    "year 292278": (last(metric_timestamp="292278-01-01"), "metric_timestamp is not a time"),
    "keys given twice": (lambda own: pd.concat([own.assign(metric_value=-5.0), own]), None),
    "control characters": (lambda own: own.assign(metric_name=HOSTILE), None),
    "no name": (last(metric_name=None), "metric_name is empty"),
}
POISONED = {poison: f"m{7 + 50 * number:04}" for number, poison in enumerate(POISONS)}
OTHERS = {f"m{number:04}" for number in range(METRICS)} - set(POISONED.values())


def healthy() -> dict[str, pd.DataFrame]:
    """A thousand metrics; every fiftieth is far out on the last day."""
    days = pd.date_range(end=LAST, periods=DAYS, freq="1D")
    values = np.random.default_rng(7).normal(100, 3, (METRICS, DAYS))
    values[::50, -1] += 400
    return {
        name: pd.DataFrame(
            {"metric_timestamp": days, "metric_name": name, "metric_value": values[number]}, dtype=object
        )
        for number, name in enumerate(f"m{number:04}" for number in range(METRICS))
    }


def poisoned(*poisons: str) -> pd.DataFrame:
    frames = healthy()
    for poison in poisons:
        frames[POISONED[poison]] = POISONS[poison][0](frames[POISONED[poison]])
    return pd.concat(frames.values(), ignore_index=True)


def run(folder: Path, frame: pd.DataFrame) -> tuple[list[tuple[Any, ...]], dict[str, StepResult]]:
    """Run all steps on a table of their own; return the rows of the metrics that nobody touched, and the results."""
    folder.mkdir()
    store = MetricStore(EmbeddedDuckDBHook(folder / "metrics.duckdb"), "metrics", "b")
    models = open_model_store("models", str(folder))
    results = {"ingest": ingest(SPEC, WINDOW, store, lambda window: frame)}
    results["train"] = train(SPEC, WINDOW, store, models)
    results["score"] = score(SPEC, WINDOW, store, models)
    results["alert"] = alert(SPEC, WINDOW, store, models).result
    ever = datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)
    found = store.read(["metric", "score", "alert"], since=None, until=ever)
    rows = [
        (row.metric_name, row.metric_type, row.metric_timestamp, row.metric_value.hex(), row.metadata)
        for row in found.itertuples()
        if row.metric_name in OTHERS
    ]
    return rows, results


def test_the_others_get_the_same_rows_and_the_poisoned_are_named(tmp_path: Path) -> None:
    unharmed, before = run(tmp_path / "unharmed", poisoned())
    assert {row[1] for row in unharmed} == {"metric", "score", "alert"}
    assert before["ingest"].failed == {}

    rows, results = run(tmp_path / "poisoned", poisoned(*POISONS))
    assert rows == unharmed
    failed = results["ingest"].failed
    named = {"(no name)" if poison == "no name" else POISONED[poison]: said for poison, (_, said) in POISONS.items()}
    assert set(failed) == {name for name, said in named.items() if said}
    assert all(str(named[name]) in reason for name, reason in failed.items())
    assert HOSTILE in results["ingest"].outcomes
    for step in ("train", "score", "alert"):
        assert results[step].failed == {}, step
        same = {name: text for name, text in results[step].outcomes.items() if name in OTHERS}
        assert same == {name: text for name, text in before[step].outcomes.items() if name in OTHERS}


@pytest.mark.parametrize("poison", ["infinite", "text", "no time"])
def test_the_task_fails_for_good_and_names_the_one_of_a_thousand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, poison: str
) -> None:
    monkeypatch.setenv("AIRFLOW__ANOMSTACK__DUCKDB_PATH", str(tmp_path / "metrics.duckdb"))
    left: dict[str, Any] = {}
    with DAG("d", schedule=None):
        task = AnomstackIngestOperator(task_id="ingest", config=CONFIG)
    store = MetricStore(EmbeddedDuckDBHook(tmp_path / "metrics.duckdb"), "metrics", "b")
    result = ingest(SPEC, WINDOW, store, lambda window: poisoned(poison))

    class Pushed:
        def xcom_push(self, key: str, value: Any) -> None:
            left[key] = value

    context: Any = {"ti": Pushed()}
    with pytest.raises(AirflowFailException, match=rf"1 of {METRICS} metrics failed, the others are done") as caught:
        task.finish(context, result)
    assert f"\n  {POISONED[poison]}: row " in str(caught.value)
    assert str(POISONS[poison][1]) in str(caught.value)
    assert left["return_value"]["outcomes"] == {"failed": 1, "ingested": METRICS - 1}
    assert list(left["return_value"]["not_evaluated"]) == [POISONED[poison]]
