"""What a folder names and Airflow does not have, by the command line, the health task, and the ledger's list."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowException

from anomstack_provider.cli import main
from anomstack_provider.operators.health import AnomstackHealthOperator
from anomstack_provider.store.hooks import EmbeddedDuckDBHook
from anomstack_provider.store.ledger import Delivery, DeliveryLedger

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)
BATCH = """
metric_batch: sales
ingest_sql: select 1
alert_methods: email, slack, slack_webhook, pager
email_to: ann@example.com
smtp_conn_id: there
slack_conn_id: gone
slack_webhook_conn_id: gone
notifiers:
  - name: pager
    class: no_such_package.Pager
    args: {pager_conn_id: also_gone, other_conn_id: "{{ event.tags.conn }}"}
routes:
  - {severity: high, channels: slack, slack_channel: "#ops"}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "metrics"
    folder.mkdir()
    (folder / "sales.yaml").write_text(BATCH)
    (folder / "quiet.yaml").write_text("metric_batch: quiet\ningest_sql: select 1\n")
    monkeypatch.setenv("AIRFLOW_CONN_THERE", json.dumps({"conn_type": "smtp"}))
    return folder


def test_missing_connections_are_errors_of_validation(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--metrics-dir", str(folder)]) == 0
    capsys.readouterr()
    assert main(["validate", "--metrics-dir", str(folder), "--connections"]) == 1
    errors = [line for line in capsys.readouterr().out.splitlines() if line.startswith("error")]
    assert errors == [
        "error   sales.yaml: sales: no Airflow connection 'gone' (slack_webhook_conn_id, slack_conn_id); "
        "create it or name another",
        "error   sales.yaml: sales: no Airflow connection 'also_gone' (notifiers: pager: pager_conn_id); "
        "create it or name another",
        "error   sales.yaml: sales: notifiers: pager: ModuleNotFoundError: No module named 'no_such_package'",
    ]


def test_a_batch_that_alerts_on_thresholds_alone_needs_its_channels_too(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "sales.yaml").unlink()
    quiet = "metric_batch: q\ningest_sql: select 1\ndisable_alert: true\ndisable_summary: true\n"
    quiet += "email_to: a@example.com\nsmtp_conn_id: gone\n"
    (folder / "quiet.yaml").write_text(quiet)
    assert main(["validate", "--metrics-dir", str(folder), "--connections"]) == 0
    capsys.readouterr()
    (folder / "quiet.yaml").write_text(quiet + "disable_tholdalert: false\ntholdalert_thresholds: {m: {upper: 1}}\n")
    assert main(["validate", "--metrics-dir", str(folder), "--connections"]) == 1
    assert "quiet.yaml: q: no Airflow connection 'gone' (smtp_conn_id);" in capsys.readouterr().out


NOTIFIERS = """
metric_batch: sales
ingest_sql: select 1
alert_methods: [good, unknown, typo]
metric_tags: {orders: {team: shop}}
notifiers:
  - {name: good, class: airflow.providers.slack.notifications.slack.SlackNotifier,
     args: {slack_conn_id: there, text: "{{ first_line }} {{ event.tags.team }} {{ links.Run }}"}}
  - {name: unknown, class: airflow.providers.slack.notifications.slack.SlackNotifier,
     args: {slack_conn_id: there, text: "{{ event.colour }}"}}
  - {name: typo, class: airflow.providers.slack.notifications.slack.SlackNotifier,
     args: {slack_conn_id: there, txt: "{{ first_line }}"}}
"""


def test_a_notifier_that_cannot_be_made_of_an_alert_is_an_error_of_validation(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "sales.yaml").write_text(NOTIFIERS)
    assert main(["validate", "--metrics-dir", str(folder), "--connections"]) == 1
    unknown, typo = (line for line in capsys.readouterr().out.splitlines() if line.startswith("error"))
    assert unknown.startswith("error   sales.yaml: sales: notifiers: unknown: UndefinedError:")
    assert "'colour'" in unknown
    assert typo.startswith("error   sales.yaml: sales: notifiers: typo: TypeError:")
    assert "'txt'" in typo


def test_the_connection_of_a_language_model_is_missed_where_one_is_asked(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "sales.yaml").unlink()
    (folder / "quiet.yaml").write_text("metric_batch: q\ningest_sql: select 1\ndisable_llmalert: false\n")
    assert main(["validate", "--metrics-dir", str(folder), "--connections"]) == 1
    assert "quiet.yaml: q: no Airflow connection 'pydanticai_default' (llmalert_conn_id);" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("keys", "is_missed"),
    [
        ("disable_summary: true\n", False),
        ("", True),  # the summary goes to alert_methods
        ("disable_summary: true\ndisable_tholdalert: false\ntholdalert_thresholds: {a: {upper: 3}}\n", True),
        ("disable_summary: true\nchange_threshold: 4\n", True),
    ],
)
def test_a_channel_is_needed_where_anything_is_told_though_no_score_alerts(
    folder: Path, capsys: pytest.CaptureFixture[str], keys: str, is_missed: bool
) -> None:
    (folder / "sales.yaml").unlink()
    said = "alert_methods: slack\nslack_channel: '#x'\nslack_conn_id: gone\n"
    (folder / "quiet.yaml").write_text(f"metric_batch: q\ningest_sql: select 1\ndisable_alert: true\n{said}{keys}")
    assert main(["validate", "--metrics-dir", str(folder), "--connections"]) == int(is_missed)
    assert ("no Airflow connection 'gone' (slack_conn_id)" in capsys.readouterr().out) == is_missed


def test_the_health_task_names_them_too(folder: Path) -> None:
    task = AnomstackHealthOperator(task_id="check", metrics_dir=str(folder))
    with pytest.raises(AirflowException, match="no Airflow connection 'gone'"):
        task.execute({})
    (folder / "sales.yaml").unlink()
    assert task.execute({}) == {"batches": 1}


def test_what_is_owed_is_listed_and_put_back(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "anomstack.duckdb"
    monkeypatch.setenv("AIRFLOW__ANOMSTACK__DUCKDB_PATH", str(path))
    command = ["deliveries", "sales", "--metrics-dir", str(folder)]
    assert main(command) == 0
    assert capsys.readouterr().out == "sales: nothing is owed\n"

    ledger = DeliveryLedger(EmbeddedDuckDBHook(path), "metrics", "sales")
    payload = json.dumps({"metric_name": "orders\n"})
    ledger.record([Delivery(event, "opened", "slack", "sales", payload) for event in ("e1", "e2")], NOW)
    first, _ = ledger.begin(ledger.claim("task", NOW, NOW - NOW), NOW)
    ledger.settle([first], "abandoned", "abandoned after 20 tries: gone")
    assert main(command) == 1
    assert capsys.readouterr().out.splitlines() == [
        "abandoned  2024-03-01 12:00  slack  orders: opened, event e1, tried once: abandoned after 20 tries: gone",
        "pending    2024-03-01 12:00  slack  orders: opened, event e2, tried once",
        "sales: 1 abandoned, 1 pending",
    ]
    assert main([*command, "--retry"]) == 0
    assert "1 abandoned deliveries are pending again" in capsys.readouterr().out
