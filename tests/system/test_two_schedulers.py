"""
Runs that overlap, workers whose clocks are hours apart: the rows of one run after the other, one message each.

Two schedulers may start one tick twice, a person may trigger it beside the scheduled run, neighbours may run at once.
Each run is a forked process with operators as a worker runs them, on a DuckDB file and on PostgreSQL.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import threading
import traceback
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.execution_time.context import OutletEventAccessors
from airflow_rig import MailBox, _postgres, mail_server, wait_until

from anomstack_provider import (
    AnomstackAlertOperator,
    AnomstackIngestOperator,
    AnomstackScoreOperator,
    AnomstackTrainOperator,
)
from anomstack_provider.store.hooks import open_hook

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

STEPS = {
    "ingest": AnomstackIngestOperator,
    "train": AnomstackTrainOperator,
    "score": AnomstackScoreOperator,
    "alert": AnomstackAlertOperator,
}
CONFIG = {
    "metric_batch": "b",
    "schedule": "@daily",
    "train_cron_schedule": "@daily",
    "history_start": "2024-01-06",
    # One metric is far out on two days, the other on one.
    "ingest_fn": """
import pandas as pd

def ingest(data_interval_start, data_interval_end):
    days = pd.date_range(data_interval_start, data_interval_end, freq="1D", inclusive="left")
    odd = {"a": ["2024-03-05", "2024-03-06"], "b": ["2024-03-05"], "c": []}
    return pd.DataFrame([
        (day, name, 900.5 if f"{day:%Y-%m-%d}" in odd[name] else 100.25 + day.dayofyear % 5)
        for day in days for name in odd
    ], columns=["metric_timestamp", "metric_name", "metric_value"])
""",
    "preprocess_params": {"diff_n": 0, "smooth_n": 0, "lags_n": 0},
    "model_configs": [{"model_name": "KNN"}],
    "alert_smooth_n": 0,
    "alert_threshold": 0.99,
    "disable_change": True,
    "alert_methods": "email",
    "email_to": "team@example.com",
}


@dataclass(frozen=True)
class Site:
    """A database, a folder of models, a mail box; ``run`` starts runs as processes."""

    box: MailBox
    folder: Path
    conn_id: str | None

    def one(self, day: datetime, run_id: str, ahead: timedelta) -> None:
        """Do one run in this process, whose clock is wrong."""
        os.environ["AIRFLOW__ANOMSTACK__DUCKDB_PATH"] = str(self.folder / "anomstack.duckdb")
        os.environ["AIRFLOW__ANOMSTACK__MODEL_PATH"] = str(self.folder / "models")
        _set_clock(ahead)
        config = CONFIG | ({"conn_id": self.conn_id} if self.conn_id else {})
        with DAG("d", schedule=None) as dag:
            tasks = [step(task_id=name, config=config) for name, step in STEPS.items()]
        run = SimpleNamespace(
            dag_id="d",
            run_id=run_id,
            run_type="scheduled",
            run_after=day + timedelta(days=1),
            logical_date=day,
            data_interval_start=day,
            data_interval_end=day + timedelta(days=1),
        )
        context: Any = {
            "dag_run": run,
            "ti": SimpleNamespace(xcom_push=lambda key, value: None),
            "outlet_events": OutletEventAccessors(),
        }
        for task in tasks:
            task.render_template_fields(context, dag.get_template_env())
            task.execute(context)

    def run(self, *runs: tuple[str, str, float]) -> None:
        """Start runs at once, each with its day, id and how many hours its clock is ahead; wait for all of them."""
        for end in [self.start(*run) for run in runs]:
            end()

    def start(self, day: str, run_id: str, hours: float) -> Callable[[], None]:
        """Start a run; returns what waits for its end."""
        report = self.folder / f"{uuid.uuid4().hex}.error"
        moment = datetime.fromisoformat(day).replace(tzinfo=UTC)
        process = _forked(lambda: self.one(moment, run_id, timedelta(hours=hours)), report)

        def end() -> None:
            process.join(200)
            assert process.exitcode == 0, report.read_text() if report.exists() else process.exitcode

        return end

    def rows(self) -> list[tuple[Any, ...]]:
        """Return the whole metrics table, values to the bit."""
        hook = open_hook(self.conn_id, str(self.folder / "anomstack.duckdb"))
        found = hook.get_records(
            "SELECT metric_timestamp, metric_batch, metric_name, metric_type, metric_value, metadata FROM metrics"
        )
        return sorted(tuple(v.hex() if isinstance(v, float) else str(v) for v in row) for row in found)

    def statuses(self) -> Counter[str]:
        """Return how many deliveries have which status."""
        hook = open_hook(self.conn_id, str(self.folder / "anomstack.duckdb"))
        return Counter(row[0] for row in hook.get_records("SELECT status FROM metrics_deliveries"))


def _set_clock(ahead: timedelta) -> None:
    """Let everything of this package that asks what time it is get a wrong answer."""
    import sys

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + ahead

    for name, module in list(sys.modules.items()):
        if name.startswith("anomstack_provider") and getattr(module, "datetime", None) is datetime:
            module.datetime = Wrong  # type: ignore[attr-defined]


def _forked(work: Callable[[], None], report: Path) -> Any:
    def guarded() -> None:
        try:
            work()
        except BaseException:
            report.write_text(traceback.format_exc())
            os._exit(1)
        os._exit(0)

    process = multiprocessing.get_context("fork").Process(target=guarded)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # about forking beside the mail server's thread
        process.start()
    return process


@pytest.fixture(scope="module")
def postgres() -> Iterator[Any]:
    server = _postgres()
    yield server
    server.cleanup()


@pytest.fixture(scope="module", autouse=True)
def loaded() -> None:
    for module in ("messages.chart", "steps.alert", "steps.ingest", "wiring.fetch", "delivery.sending", "delivery.lag"):
        importlib.import_module(f"anomstack_provider.{module}")


@pytest.fixture(scope="module")
def mail() -> Iterator[MailBox]:
    with mail_server() as (box, connection), pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", connection)
        yield box


@pytest.fixture(params=["duckdb", "postgres"])
def site(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mail: MailBox) -> Site:
    if request.param == "duckdb":
        return Site(mail, tmp_path, None)
    server, schema = request.getfixturevalue("postgres"), f"s_{uuid.uuid4().hex[:12]}"
    server.psql(f"CREATE SCHEMA {schema}")
    host = server.get_uri().split("host=")[1]
    extra = {"options": f"-c search_path={schema}"}
    defined = {"conn_type": "postgres", "login": "postgres", "schema": "postgres", "host": host, "extra": extra}
    monkeypatch.setenv(f"AIRFLOW_CONN_{schema.upper()}", json.dumps(defined))
    return Site(mail, tmp_path, schema)


@pytest.fixture(scope="module")
def alone(mail: MailBox, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[tuple[Any, ...]], Counter[str]]:
    """What one run after the other leaves on DuckDB: the rows of the table, and the messages."""
    site = Site(mail, tmp_path_factory.mktemp("alone"), None)
    mail.mails.clear()
    for day in ("2024-03-04", "2024-03-05", "2024-03-06"):
        site.run((day, "scheduled", 0))
    assert {row[3] for row in site.rows()} == {"metric", "score", "alert"}
    assert set(told(site).values()) == {1}
    return site.rows(), told(site)


def told(site: Site) -> Counter[str]:
    return Counter(str(mail["Message-ID"]) for mail in site.box.mails)


OVERLAPS: dict[str, Sequence[Sequence[tuple[str, str, float]]]] = {
    "the same tick twice": [
        [("2024-03-04", "scheduled", 0)],
        [("2024-03-05", "scheduled", 0), ("2024-03-05", "manual", 0)],
        [("2024-03-06", "scheduled", 0), ("2024-03-06", "manual", 0), ("2024-03-06", "again", 0)],
    ],
    "neighbours": [[("2024-03-04", "a", 0), ("2024-03-05", "b", 0), ("2024-03-06", "c", 0)]],
    "clocks hours behind and ahead, one after the other": [
        [("2024-03-04", "a", 9)],
        [("2024-03-05", "b", -9)],
        [("2024-03-06", "c", 30)],
        [("2024-03-06", "again", -30)],
    ],
    "clocks minutes apart, at once": [
        [("2024-03-04", "a", 0.2)],
        [("2024-03-05", "b", -0.2), ("2024-03-05", "c", 0.2)],
        [("2024-03-06", "d", 0.2), ("2024-03-06", "e", -0.2)],
    ],
}


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_runs_that_overlap_leave_what_one_after_the_other_leaves(
    site: Site, alone: tuple[list[tuple[Any, ...]], Counter[str]], overlap: str
) -> None:
    rows, messages = alone
    site.box.mails.clear()
    for runs in OVERLAPS[overlap]:
        site.run(*runs)
    if overlap == "neighbours":
        # What a neighbour had not stored yet was not there to be told of: the next run of any of them tells it.
        site.run(("2024-03-06", "next", 0))
    assert site.rows() == rows
    assert told(site) == messages
    assert site.statuses() == Counter(sent=len(messages))


def test_a_worker_whose_clock_is_a_day_ahead_leaves_what_another_is_sending(
    site: Site, alone: tuple[list[tuple[Any, ...]], Counter[str]]
) -> None:
    rows, messages = alone
    site.box.mails.clear()
    site.run(("2024-03-04", "a", 0))
    site.box.hold = hold = threading.Event()
    slow = site.start("2024-03-05", "slow", -3)
    try:
        wait_until(lambda: site.box.hold is None, "the first mail", 100, 0.05)
        site.run(("2024-03-05", "ahead", 24))
        assert site.statuses() == Counter(pending=2), "it has sent what the other one was sending"
    finally:
        hold.set()
    slow()
    site.run(("2024-03-06", "b", 0))
    assert site.rows() == rows
    assert told(site) == messages
    assert site.statuses() == Counter(sent=len(messages))
