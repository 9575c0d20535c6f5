"""One Airflow for all system tests: a metrics folder beside the drop-in DAG file, a source, a mail server."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from airflow_rig import Airflow, MailBox, mail_server, wait_until

REPOSITORY = Path(__file__).resolve().parents[2]

SHOP = """
    metric_batch: shop
    description: Orders per shop and day
    schedule: "@daily"
    train_cron_schedule: "0 0 * * 1"
    start_date: 2024-01-01
    history_start: 2024-01-01
    disable_delete: true
    ingest_sql: |
      {% include "./sql/orders.sql" %}
    preprocess_params: {diff_n: 0, smooth_n: 0, lags_n: 0}
    model_configs: [{model_name: KNN}]
    score_metric_rounding: -1
    alert_smooth_n: 0
    alert_snooze_n: 0
    alert_threshold: 0.99
    alert_methods: email
    email_to: team@example.com
    notify_on_backfill: true
    retries: 0
"""
ORDERS = """
    SELECT day AS metric_timestamp, 'orders ' || shop AS metric_name, orders AS metric_value,
    FROM shop_orders
    WHERE day >= '{{ data_interval_start }}'::TIMESTAMP AND day < '{{ data_interval_end }}'::TIMESTAMP;
"""
CLOCK = """
    metric_batch: clock
    schedule: "@hourly"
    ingest_sql: >-
      SELECT '{{ data_interval_start }}' AS metric_timestamp, 'clock' AS metric_name, 1 AS metric_value
      -- from {{ data_interval_start }} to {{ data_interval_end }} as of {{ as_of }} on {{ ds }}
    table_key: clock_metrics
    delete_after_n_days: 30
    disable_train: true
    disable_score: true
    disable_alert: true
    retries: 0
"""
BROKEN = """
    metric_batch: broken
    schedule: "@daily"
    ingest_sql: SELECT 1
    alert_treshold: 0.9
"""
# Written by hand: started by an asset, its batch in the DAG file, its rows from Python.
HAND = '''
    from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
    from airflow.sdk import DAG, Asset, task

    from anomstack_provider import (
        AnomstackAlertOperator,
        AnomstackIngestOperator,
        AnomstackScoreOperator,
        AnomstackTrainOperator,
    )

    STOCK = Asset("stock")
    BATCH = {
        "metric_batch": "hand",
        "schedule": "@hourly",
        "table_key": "hand_metrics",
        "train_cron_schedule": "@hourly",
        "alert_methods": "email",
        "shards": 2,
        "ingest_fn": """
    import pandas as pd

    HOURS = 48

    def ingest(data_interval_start, data_interval_end):
        times = pd.date_range(end=data_interval_start, periods=HOURS, freq="1h")
        parts = [
            pd.DataFrame({"metric_timestamp": times, "metric_name": name, "metric_value": range(HOURS)})
            for name in ("left", "right", "middle")
        ]
        return pd.concat(parts)
    """,
    }
    GIVEN = {"config": BATCH, "retries": 0}

    with DAG("hand", schedule=[STOCK]):
        ingest = AnomstackIngestOperator(task_id="ingest", **GIVEN)
        train = AnomstackTrainOperator.partial(task_id="train", **GIVEN).expand(shard=[0, 1])
        score = AnomstackScoreOperator.partial(task_id="score", **GIVEN).expand(shard=[0, 1])
        ingest >> train >> score >> AnomstackAlertOperator(task_id="alert", **GIVEN)

    with DAG("starter", schedule=None):

        @task(outlets=[STOCK])
        def deliver():
            """Something came in."""

        deliver()
        TriggerDagRunOperator(task_id="trigger", trigger_dag_id="anomstack_clock")
'''


@dataclass(frozen=True)
class Site:
    """The running Airflow and what is around it."""

    airflow: Airflow
    box: MailBox
    database: Path

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Return rows of the DuckDB file; waits while a task has it."""

        def ask() -> Any:
            try:
                with duckdb.connect(str(self.database), read_only=True) as connection:
                    return (connection.execute(sql).fetchall(),)
            except duckdb.IOException:
                return None

        return wait_until(ask, "the database", 60, 0.1)[0]

    def anomstack(self, *arguments: str) -> str:
        """Run the command line in the Airflow's environment and return what it prints."""
        command = [sys.executable, "-m", "anomstack_provider.cli", *arguments]
        done = subprocess.run(
            command, env=self.airflow.variables, cwd=self.airflow.home, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def _write_source(database: Path) -> None:
    """Three shops with a hundred days of orders, one day too many, one too few."""
    days = pd.date_range("2024-01-01", "2024-04-10", inclusive="left")
    chance = np.random.default_rng(5)
    parts = [
        pd.DataFrame({"day": days, "shop": shop, "orders": chance.normal(mean, mean / 20, len(days)).round(2)})
        for shop, mean in (("north", 100.0), ("south", 500.0), ("it's / 🎉", 50.0))
    ]
    orders = pd.concat(parts, ignore_index=True)
    orders.loc[(orders["day"] == "2024-03-05") & (orders["shop"] == "north"), "orders"] = 400.0
    orders.loc[(orders["day"] == "2024-03-11") & (orders["shop"] == "south"), "orders"] = 3.0
    with duckdb.connect(str(database)) as connection:
        connection.register("orders", orders)
        connection.execute("CREATE TABLE shop_orders AS SELECT day::TIMESTAMP AS day, shop, orders FROM orders")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("airflow")
    dags, database = home / "dags", home / "anomstack.duckdb"
    files = {"shop.yaml": SHOP, "sql/orders.sql": ORDERS, "sub/clock.yml": CLOCK, "broken.yaml": BROKEN}
    for name, text in files.items():
        path = dags / "metrics" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), "utf-8")
    shutil.copy(REPOSITORY / "example_dags" / "anomstack_dags.py", dags)
    (dags / "hand.py").write_text(textwrap.dedent(HAND), "utf-8")
    _write_source(database)
    with mail_server() as (box, connection):
        # The command line has no DAG file beside which to look for the folder.
        settings = {
            "AIRFLOW_CONN_SMTP_DEFAULT": connection,
            "AIRFLOW__ANOMSTACK__METRICS_DIR": str(dags / "metrics"),
        }
        airflow = Airflow(home, settings)
        try:
            airflow.start()
            yield Site(airflow, box, database)
        finally:
            airflow.stop()
