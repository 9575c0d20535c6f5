"""A batch's own queries on every database: native SQL or DuckDB's, times and numbers as each driver gives them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anomstack_provider.artifacts.model_store import open_model_store
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.alert import alert
from anomstack_provider.steps.preview import preview
from anomstack_provider.steps.score import score
from anomstack_provider.steps.train import train
from anomstack_provider.store.metric_store import MetricStore
from anomstack_provider.wiring.batches import inline_spec, open_stores
from tests.database_fixtures import ENGINES
from tests.steps.conftest import at, noise

WINDOW = RunWindow(at("2024-03-01"), at("2024-03-02"))
KEYS: dict[str, Any] = {
    "metric_batch": "b",
    "ingest_sql": "select 1",
    "schedule": "@daily",
    "train_cron_schedule": "@weekly",
    "recipe": "anomstack",
    "model_configs": [{"model_name": "KNN"}],
    "preprocess_params": {"diff_n": 0, "smooth_n": 0, "lags_n": 0},
    "alert_smooth_n": 0,
    "alert_threshold": 0.9,
    "disable_change": False,
    "change_metric_timestamp_max_days_ago": 90,
    "score_max_n": 5,
}
ALL = """
select metric_timestamp, metric_batch, metric_name, metric_type, avg(metric_value) as metric_value
from {{ table_key }} where metric_batch = '{{ metric_batch }}' and metric_type = 'metric'
group by metric_timestamp, metric_batch, metric_name, metric_type;
"""
# Of DuckDB's dialect alone; PostgreSQL gets its translation, SQLite too.
NEWEST = """
select metric_timestamp, metric_name, metric_value from {{ table_key }}
where metric_batch = '{{ metric_batch }}' and metric_type = 'metric'
qualify row_number() over (partition by metric_name order by metric_timestamp desc) <= 50
"""
JUDGED = """
select metric_timestamp, metric_name, metric_value, metric_value / 200 as metric_score,
  case when metric_value > 140 then 1 else 0 end as metric_alert
from {{ table_key }} where metric_batch = 'b' and metric_type = 'metric'
"""


@pytest.fixture
def make_batch(
    make_database: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Callable[..., BatchSpec]]:
    """A database with two metrics of 61 days, the newest bucket of one a spike; batches of any keys on it."""

    def make(engine: str) -> Callable[..., BatchSpec]:
        hook = make_database(engine).hook()
        if engine == "duckdb":
            monkeypatch.setenv("AIRFLOW__ANOMSTACK__DUCKDB_PATH", str(hook.path))
        monkeypatch.setenv("AIRFLOW__ANOMSTACK__METRICS_DIR", str(tmp_path))
        conn_id = None if engine == "duckdb" else hook.get_conn_id()
        times = pd.date_range("2024-01-01", periods=61).astype("datetime64[us]")
        for name, spike in (("orders", 60.0), ("it's", 0.0)):
            values = np.round(noise(61, len(name)), 4)
            values[-1] += spike
            keys = {"metric_name": name, "metric_type": "metric", "metric_timestamp": times}
            rows = pd.DataFrame({**keys, "metric_value": values, "metadata": None})
            MetricStore(hook, "metrics", "b").replace(rows)
        return lambda **keys: inline_spec({**KEYS, **keys, "conn_id": conn_id})

    return make


def run(spec: BatchSpec, models: Path) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Train, score and alert; return the scores to the bit and what was told."""
    kept = open_model_store(f"file://{models}", "/")
    train(spec, WINDOW, open_stores(spec).metrics, kept)
    score(spec, WINDOW, open_stores(spec).metrics, kept)
    told = alert(spec, WINDOW, open_stores(spec).metrics, kept).alerts
    rows = open_stores(spec).metrics.read(["score"], since=None, until=at("2100-01-01"))
    scores = [(r.metric_name, str(r.metric_timestamp), r.metric_value.hex(), r.metadata) for r in rows.itertuples()]
    return scores, [(a.metric_name, a.kind, a.transition, str(a.bucket), a.why) for a in told]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("sql", ["{% include './own/all.sql' %}", NEWEST], ids=["included", "newest"])
def test_the_same_rows_from_a_query_are_the_same_scores_and_alerts(
    make_batch: Callable[..., Any], tmp_path: Path, engine: str, sql: str
):
    (tmp_path / "own").mkdir()
    (tmp_path / "own/all.sql").write_text(ALL)
    batch = make_batch(engine)
    # What the newest fifty are of a day is a question of the run: the built-in limits are the same.
    few = {"train_max_n": 50, "change_max_n": 50} if sql == NEWEST else {}
    own = batch(train_sql=sql, score_sql=sql, change_sql=sql)
    if sql == NEWEST:
        sql = sql.replace("'metric'\n", "'metric' and metric_timestamp < '{{ as_of.strftime(\"%Y-%m-%d\") }}'\n")
        own = batch(train_sql=sql, score_sql=sql, change_sql=sql)
    scores, told = run(own, tmp_path / "own-models")
    assert (scores, told) == run(batch(**few), tmp_path / "models")
    assert scores
    assert [(name, kind, what) for name, kind, what, *_ in told] == [("orders", "anomaly", "opened")]
    assert [a.metric_name for a in preview(own, WINDOW, open_stores(own).metrics).opened] == ["orders"]


@pytest.mark.parametrize("engine", ENGINES)
def test_what_the_query_calls_an_alert_is_one(make_batch: Callable[..., Any], tmp_path: Path, engine: str):
    batch = make_batch(engine)
    _, told = run(batch(alert_sql=JUDGED, disable_change=True), tmp_path / "models")
    assert [(name, what, bucket) for name, _, what, bucket, _ in told] == [
        ("orders", "opened", "2024-03-01 00:00:00+00:00")
    ]
    assert told[0][4][0].startswith("The batch's own alert_sql says so, with a score of 0.824")
