"""The summary task against a real DuckDB file and a real SMTP server."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from airflow.providers.common.compat.sdk import AirflowException

from anomstack_provider.operators.ingest import AnomstackIngestOperator
from anomstack_provider.operators.summary import AnomstackSummaryOperator
from tests.operators.conftest import Task

SQL = "SELECT TIMESTAMP '2024-03-05 12:00' AS metric_timestamp, 'orders' AS metric_name, 7 AS metric_value"


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    folder = tmp_path / "metrics"
    folder.mkdir()
    for name in ("web", "idle"):
        keys = [f"metric_batch: {name}", "schedule: '@daily'", "email_to: team@example.com", f'ingest_sql: "{SQL}"']
        (folder / f"{name}.yaml").write_text("\n".join(keys), "utf-8")
    return folder


def summary(operator: Callable[..., Any], metrics: Path) -> Any:
    return operator(
        AnomstackSummaryOperator,
        batches=["idle", "web"],
        method="email",
        metrics_dir=str(metrics),
        cron="0 9 * * *",
    )


def test_one_mail_tells_of_all_batches(operator: Callable[..., Any], metrics: Path, mail_server: Any) -> None:
    Task(operator(AnomstackIngestOperator, metric_batch="web", metrics_dir=str(metrics), sql=SQL)).run()
    left = Task(summary(operator, metrics)).run()
    assert left == {"batches": 2, "alerts": 0, "not_evaluated": 1, "unreadable": 0}
    ((recipients, mail),) = mail_server.received
    assert recipients == ["team@example.com"]
    assert mail["Subject"].strip() == "[SUMMARY] 2 batches, 0 alerts, 1 not evaluated (until 2024-03-06 00:00 UTC)"
    assert "not evaluated: orders (learning 1/14)" in mail.get_body(("plain",)).get_content()


def test_a_batch_that_cannot_be_read_is_told(
    operator: Callable[..., Any], metrics: Path, database: Path, mail_server: Any
) -> None:
    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE TABLE elsewhere (something INTEGER)")
    with (metrics / "idle.yaml").open("a", encoding="utf-8") as file:
        file.write("\ntable_key: elsewhere\n")
    left = Task(summary(operator, metrics)).run()
    assert (left["batches"], left["unreadable"]) == (2, 1)
    ((_, mail),) = mail_server.received
    assert "idle: could not be read, see the task's log" in mail.get_body(("plain",)).get_content()


def test_what_is_refused_fails_the_task(
    operator: Callable[..., Any], metrics: Path, connect_smtp: Callable[..., None]
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        connect_smtp(nobody.getsockname()[1])
        with pytest.raises(AirflowException, match="email: "):
            Task(summary(operator, metrics)).run()
