"""What tests of DAGs share: a DAGs folder beside a database, runs of a DAG, a mail box, the file of metrics."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, TypeAlias

import pytest

Query: TypeAlias = Callable[[str], list[tuple[Any, ...]]]

# The file that a user drops into the DAGs folder; the argument is the metrics folder.
DAG_FILE = (
    "from airflow.sdk import dag\nfrom anomstack_provider import generate_dags\nglobals().update(generate_dags({!r}))\n"
)


@pytest.fixture(scope="session")
def dags_folder() -> Path:
    """The DAGs folder of this process's Airflow home, beside a database."""
    migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
    done = subprocess.run(migrate, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def no_parsing_context() -> Iterator[None]:
    """Take away what ``dag.test()`` of Airflow 3.1 leaves: the wish to see this one DAG in every file parsed later."""
    yield
    for name in ("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "_AIRFLOW_PARSING_CONTEXT_TASK_ID"):
        os.environ.pop(name, None)


def ran(dag: Any, day: str) -> tuple[str, dict[str, str]]:
    """Run a DAG for the interval that begins on a day; return the run's state and the tasks' states."""
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
def query(database: Path) -> Query:
    """Return a function that asks the DuckDB file of the folder's ``database``."""
    import duckdb

    def ask(sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(database)) as connection:
            return connection.execute(sql).fetchall()

    return ask


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
    extra = {"disable_tls": True, "disable_ssl": True, "from_email": "anomstack@example.com"}
    connection = {"conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(connection))
    try:
        yield got
    finally:
        controller.stop()
