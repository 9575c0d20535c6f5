"""The example DAGs, and batches of the examples folder, run by Airflow: ingest, train, score, alert, notify."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from tests.dag_fixtures import Query, ran

pytestmark = pytest.mark.usefixtures("no_parsing_context")


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
