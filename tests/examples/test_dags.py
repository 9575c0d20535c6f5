"""The example DAGs, and batches of the examples folder, run by Airflow: ingest, train, score, alert, notify."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

Query = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def dags_folder() -> Path:
    """The DAGs folder of this process's Airflow home, beside a database."""
    migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
    done = subprocess.run(migrate, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(autouse=True)
def no_parsing_context() -> Iterator[None]:
    """Take away what ``dag.test()`` of Airflow 3.1 leaves: the wish to see this one DAG in every file parsed later."""
    yield
    for name in ("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "_AIRFLOW_PARSING_CONTEXT_TASK_ID"):
        os.environ.pop(name, None)


@pytest.fixture
def parsed(dags_folder: Path, repository: Path, database: Path) -> Iterator[Callable[[str], dict[str, DAG]]]:
    """Return a function that puts an example into the DAGs folder, alone, and returns its DAGs."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    def parse(name: str) -> dict[str, DAG]:
        path = dags_folder / name
        shutil.copy(repository / "example_dags" / name, path)
        DagBundlesManager().sync_bundles_to_db()
        names: dict[str, Any] = {"__file__": str(path), "__name__": path.stem}
        exec(compile(path.read_text("utf-8"), str(path), "exec"), names)
        found = {value.dag_id: value for value in names.values() if isinstance(value, DAG)}
        return found or bag(path)

    yield parse
    for path in dags_folder.glob("*.py"):
        path.unlink()


def bag(path: Path) -> dict[str, Any]:
    """Return the DAGs of a file that keeps them under no name."""
    from airflow.models import DagBag

    found = DagBag(str(path), safe_mode=True)
    assert found.import_errors == {}
    return dict(found.dags)


def ran(dag: Any, day: str) -> tuple[str, dict[str, str]]:
    """Run a DAG; return the run's state and the tasks' states."""
    from airflow.settings import engine
    from sqlalchemy import text

    run = dag.test(logical_date=datetime.fromisoformat(day).replace(tzinfo=UTC))
    with engine.connect() as connection:
        tasks = connection.execute(
            text("SELECT task_id, state FROM task_instance WHERE dag_id = :dag AND run_id = :run"),
            {"dag": dag.dag_id, "run": run.run_id},
        ).fetchall()
    return str(run.state.value), dict(tuple(row) for row in tasks)


@pytest.fixture
def mails(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EmailMessage]]:
    """What a mail server on loopback gets through the connection smtp_default."""
    from aiosmtpd.controller import Controller

    got: list[EmailMessage] = []

    class Box:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            mail = message_from_bytes(envelope.content, policy=policy.default)
            assert isinstance(mail, EmailMessage)
            got.append(mail)
            return "250 OK"

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(Box(), hostname="127.0.0.1", port=port)
    controller.start()
    connection = {"conn_type": "smtp", "host": "127.0.0.1", "port": port}
    connection |= {"extra": {"disable_tls": True, "disable_ssl": True}}
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(connection))
    try:
        yield got
    finally:
        controller.stop()


def test_the_operators_by_hand_find_the_day(parsed, query: Query) -> None:
    """14 April 2026 has a third of the sign-ups; the run of the 15th owns it."""
    (dag,) = parsed("operators_by_hand.py").values()
    state, tasks = ran(dag, "2026-04-15")
    assert state == "success"
    assert set(tasks.values()) == {"success"}
    assert set(tasks) == {"ingest", "train", "score", "alert", "publish", "count"}
    alerts = query("SELECT metric_name, metric_timestamp::DATE::VARCHAR FROM metrics WHERE metric_type = 'alert'")
    assert alerts == [("signups", "2026-04-14")]


def test_the_notifier_is_called_with_the_event(parsed, mails: list[EmailMessage]) -> None:
    (dag,) = parsed("anomaly_notifier.py").values()
    state, tasks = ran(dag, "2026-04-17")
    assert (state, tasks["alert"]) == ("success", "success")
    (mail,) = mails
    assert (mail["To"], mail["From"]) == ("warehouse@example.com", "airflow@example.com")
    assert mail["Subject"].startswith("high: in_stock at 2")
    assert "in_stock" in mail.get_body(("html",)).get_content()


def test_the_one_file_makes_a_dag_of_every_example_and_they_run(parsed, query: Query) -> None:
    dags = parsed("anomstack_dags.py")
    assert len([name for name in dags if name.startswith("anomstack_")]) >= 23
    assert dags["anomstack_github"].is_paused_upon_creation is True
    state, tasks = ran(dags["anomstack_sales"], "2026-04-15")
    assert (state, tasks.pop("watch")) == ("success", "skipped")
    assert set(tasks.values()) == {"success"}
    kinds = dict(query("SELECT metric_type, count(*) FROM metrics WHERE metric_batch = 'sales' GROUP BY ALL"))
    assert kinds["metric"] == 3 * 196
    alerts = query("SELECT metric_name, metric_timestamp::DATE::VARCHAR FROM metrics WHERE metric_type = 'alert'")
    assert sorted(alerts) == [("orders", "2026-04-14"), ("revenue", "2026-04-14")]


def test_a_batch_without_its_connection_fails_and_says_which(
    parsed, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ANOMSTACK__NETDATA__RETRIES", "0")
    state, tasks = ran(parsed("anomstack_dags.py")["anomstack_netdata"], "2026-04-15")
    assert (state, tasks["ingest"], tasks["watch"]) == ("failed", "failed", "failed")
    said = caplog.text + "".join(capfd.readouterr())
    assert re.search(r"AirflowNotFoundException.*netdata", said)
