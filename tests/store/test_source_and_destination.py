"""The source on one connection and the metrics table on another, of another engine: through all steps."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anomstack_provider.artifacts.model_store import open_model_store
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.alert import alert
from anomstack_provider.steps.ingest import ingest
from anomstack_provider.steps.score import score
from anomstack_provider.steps.train import train
from anomstack_provider.store.dialects import source_dialect
from anomstack_provider.wiring.batches import inline_spec, open_stores
from anomstack_provider.wiring.fetch import fetch_outside_airflow, fetch_stored
from tests.database_fixtures import Database
from tests.steps.conftest import at, noise

DAYS = 61
HISTORY, NEWEST = RunWindow(at("2024-01-01"), at("2024-03-01")), RunWindow(at("2024-03-01"), at("2024-03-02"))
NAMES = ["orders", "it's", "Orders"]
QUERY = """
select day as metric_timestamp, shop as metric_name, amount as metric_value from sales
where day >= '{{ data_interval_start.strftime("%Y-%m-%d") }}' and day < '{{ data_interval_end.strftime("%Y-%m-%d") }}'
"""


@pytest.fixture
def sell() -> Callable[[Database], None]:
    """Fill a table of sales of 61 days and three shops, the last day of one a spike."""

    def fill(database: Database) -> None:
        text = "VARCHAR(20) COLLATE utf8mb4_bin" if database.engine == "mysql" else "VARCHAR(20)"
        lines = []
        for name in NAMES:
            values = np.round(noise(DAYS, len(name)), 4)
            values[-1] += 60.0 if name == "orders" else 0.0
            for day, value in enumerate(values):
                moment = (at("2024-01-01") + timedelta(days=day)).strftime("%Y-%m-%d %H:%M:%S")
                lines.append(f"('{moment}', '{name.replace(chr(39), chr(39) * 2)}', {value})")
        database.run(
            f"CREATE TABLE sales (day {database.datetime}, shop {text}, amount DOUBLE PRECISION)",
            f"INSERT INTO sales VALUES {', '.join(lines)}",
        )

    return fill


@pytest.mark.parametrize(
    ("source", "destination"),
    [("mysql", "postgres"), ("sqlite", "duckdb"), ("postgres", "mysql"), ("duckdb", "sqlite")],
)
def test_a_batch_reads_here_and_keeps_its_metrics_there(
    source: str,
    destination: str,
    make_database: Callable[[str], Database],
    define_connection: Callable[[dict[str, Any]], str],
    sell: Callable[[Database], None],
    tmp_path: Path,
) -> None:
    sources, metrics = make_database(source), make_database(destination)
    sell(sources)
    ids = [
        one.conn_id or define_connection({"conn_type": "duckdb", "host": one.hook().get_database()})
        for one in (sources, metrics)
    ]
    spec = inline_spec(
        {
            "metric_batch": "sales",
            "ingest_sql": QUERY,
            "schedule": "@daily",
            "train_cron_schedule": "@weekly",
            "recipe": "anomstack",
            "model_configs": [{"model_name": "KNN"}],
            "preprocess_params": {"diff_n": 0, "smooth_n": 0, "lags_n": 0},
            "alert_smooth_n": 0,
            "alert_threshold": 0.9,
            "score_max_n": 5,
            "conn_id": ids[0],
            "metrics_conn_id": ids[1],
        }
    )
    kept = open_model_store(f"file://{tmp_path / 'models'}", "/")
    for window in (HISTORY, NEWEST):
        stored = ingest(spec, window, open_stores(spec).metrics, lambda part: fetch_outside_airflow(spec, part, None))
        assert stored.rows == 3 * (60 if window is HISTORY else 1)
    train(spec, NEWEST, open_stores(spec).metrics, kept)
    score(spec, NEWEST, open_stores(spec).metrics, kept)
    told = alert(spec, NEWEST, open_stores(spec).metrics, kept).alerts

    assert [(one.metric_name, str(one.bucket)) for one in told] == [("orders", "2024-03-01 00:00:00+00:00")]
    rows = open_stores(spec).metrics.read(["metric"], since=None, until=at("2100-01-01"))
    assert rows.groupby("metric_name").size().to_dict() == dict.fromkeys(NAMES, DAYS)
    expected = pd.DataFrame({name: np.round(noise(DAYS, len(name)), 4) for name in NAMES})
    expected.loc[DAYS - 1, "orders"] += 60.0
    for name in NAMES:
        assert rows.loc[rows["metric_name"] == name, "metric_value"].tolist() == expected[name].tolist()

    own = fetch_stored(spec, "select count(*) as n from metrics where metric_type = 'metric'")  # as a summary_sql is run
    assert own["n"].tolist() == [3 * DAYS]
    count = f"SELECT count(*) FROM {source_dialect(metrics.hook()).quoted('metrics')}"
    assert metrics.run(count)[0][0] > 3 * DAYS  # scores too
    with pytest.raises(Exception, match="metrics"):
        sources.run(count)
