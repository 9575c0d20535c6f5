"""The train, score, alert and watch tasks: what they leave as XCom, and when they fail, skip and send."""

from __future__ import annotations

import json
import os
from datetime import date, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest
from airflow.sdk import DAG

from anomstack_provider import (
    AnomstackAlertOperator,
    AnomstackIngestOperator,
    AnomstackScoreOperator,
    AnomstackTrainOperator,
)
from anomstack_provider.operators.watch import AnomstackWatchOperator
from anomstack_provider.runtime.airflow_compat import AirflowFailException, AirflowSkipException
from tests.dag_fixtures import Query

# Sixty days of three metrics up to and with 5 March 2024, on which "calls" is far out.
HISTORY = """
    SELECT day AS metric_timestamp, name AS metric_name,
        CASE WHEN name = 'calls' AND day = DATE '2024-03-05' THEN 900 ELSE 100 + dayofyear(day) % 5 END
            AS metric_value
    FROM generate_series(DATE '2024-01-06', DATE '2024-03-05', INTERVAL 1 DAY) AS days(day),
        (VALUES ('calls'), ('it''s / 🎉'), ('orders')) AS names(name)
"""
KEYS = {
    "metric_batch": "b",
    "schedule": "@daily",
    "train_cron_schedule": "0 0 * * 1",
    "ingest_sql": HISTORY,
    "preprocess_params": {"diff_n": 0, "smooth_n": 0, "lags_n": 0},
    "model_configs": [{"model_name": "KNN"}],
    "alert_smooth_n": 0,
    "alert_snooze_n": 0,
    "alert_threshold": 0.99,
    "alert_methods": "email",
    "email_to": "team@example.com",
}
DUE = ("2024-03-04", "2024-03-05")  # a Monday
NOT_DUE = ("2024-03-05", "2024-03-06")


@pytest.fixture
def ingested(operator, task) -> None:
    task(operator(AnomstackIngestOperator, config=KEYS)).run()


# --- train -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("ingested")
def test_train_says_what_it_trained_and_as_of_when(operator, task, tmp_path: Path) -> None:
    summary = task(operator(AnomstackTrainOperator, config=KEYS), DUE).run()
    assert summary == {
        "step": "train",
        "rows": 0,
        "metrics": 3,
        "outcomes": {"trained": 3},
        "not_evaluated": {},
        "ticks": ["2024-03-04T00:00:00+00:00"],
    }
    assert [path.parent.parent.name[:16] for path in tmp_path.glob("models/b/*/0-of-1/manifest.json")] == [
        "20240304T000000Z"
    ]


@pytest.mark.usefixtures("ingested")
def test_train_is_skipped_when_it_is_not_due_and_a_model_stands(operator, task) -> None:
    assert task(operator(AnomstackTrainOperator, config=KEYS), NOT_DUE).run()["ticks"], "the first run always trains"
    with pytest.raises(AirflowSkipException, match=r"not due: no tick of '0 0 \* \* 1'"):
        task(operator(AnomstackTrainOperator, config=KEYS), NOT_DUE).run()
    changed = {**KEYS, "train_min_n": 20}
    assert task(operator(AnomstackTrainOperator, config=changed), NOT_DUE).run()["ticks"], "another config, not trained"


@pytest.mark.usefixtures("ingested")
def test_each_shard_trains_and_scores_its_own_metrics(operator, task, query: Query) -> None:
    sharded = {**KEYS, "shards": 3}
    trained = [
        task(operator(AnomstackTrainOperator, config=sharded, shard=k), DUE).run()["outcomes"].get("trained", 0)
        for k in range(3)
    ]
    assert sum(trained) == 3
    assert max(trained) < 3
    for shard in range(3):
        task(operator(AnomstackScoreOperator, config=sharded, shard=shard), NOT_DUE).run()
    scored = "SELECT count(DISTINCT metric_name) FROM metrics WHERE metric_type = 'score'"
    assert query(f"{scored} AND metric_timestamp = '2024-03-05'") == [(3,)]


# --- score -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("ingested")
def test_score_counts_what_became_of_each_metric(operator, task, query: Query) -> None:
    run = task(operator(AnomstackScoreOperator, config={**KEYS, "train_min_n": 1000}), NOT_DUE)
    assert run.run()["not_evaluated"].keys() == {"calls", "it's / 🎉", "orders"}
    summary = task(operator(AnomstackScoreOperator, config=KEYS), NOT_DUE).run()
    assert summary["outcomes"] == {"scored": 3}
    assert summary["rows"] == 3 * 14  # the day of the window, and as far back as there are days to look back
    newest = query(
        "SELECT metric_name, round(metric_value, 1) FROM metrics "
        "WHERE metric_type = 'score' AND metric_timestamp = '2024-03-05' AND metric_name = 'calls'"
    )
    assert newest == [("calls", 1.0)]


@pytest.mark.usefixtures("ingested")
def test_a_metric_that_cannot_be_trained_fails_the_task_and_its_neighbours_are_scored(
    operator, task, query: Query
) -> None:
    # A constant is fine for KNN alone; a detector that needs spread in the data refuses it.
    flat = "SELECT day AS metric_timestamp, 'flat' AS metric_name, 1e308 * (1 - 2 * (day % 2)) AS metric_value " + (
        "FROM (SELECT unnest(range(0, 60)) AS day)"
    )
    flat = flat.replace("SELECT day AS metric_timestamp", "SELECT DATE '2024-01-06' + day::INT AS metric_timestamp")
    task(operator(AnomstackIngestOperator, config={**KEYS, "ingest_sql": flat, "ingest_metric_rounding": -1})).run()
    keys = {**KEYS, "preprocess_params": {}}
    train = task(operator(AnomstackTrainOperator, config=keys), DUE)
    with pytest.raises(AirflowFailException, match="1 of 4 metrics failed, the others are done:\n  flat: "):
        train.run()
    assert train.ti.pushed["return_value"]["outcomes"] == {"failed": 1, "trained": 3}
    score = task(operator(AnomstackScoreOperator, config=keys), NOT_DUE)
    with pytest.raises(AirflowFailException, match="1 of 4 metrics failed"):
        score.run()
    assert score.ti.pushed["return_value"]["outcomes"] == {"failed": 1, "scored": 3}
    assert query("SELECT count(DISTINCT metric_name) FROM metrics WHERE metric_type = 'score'") == [(3,)]


def test_no_table_and_no_data_are_no_failure(operator, task) -> None:
    for cls in (AnomstackTrainOperator, AnomstackScoreOperator, AnomstackAlertOperator):
        assert task(operator(cls, config=KEYS)).run()["metrics"] == 0


# --- alert -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def scored(operator, task, ingested: None) -> None:
    task(operator(AnomstackScoreOperator, config=KEYS), NOT_DUE).run()


@pytest.mark.usefixtures("scored")
def test_an_alert_is_stored_and_sent_once_however_often_it_is_asked_for(
    operator, task, query: Query, mails: list[EmailMessage]
) -> None:
    summary = task(operator(AnomstackAlertOperator, config=KEYS), NOT_DUE).run()
    assert summary["outcomes"] == {"alerted": 1, "evaluated": 2}
    assert (summary["step"], summary["rows"], summary["sent"]) == ("alert", 1, 1)
    assert query("SELECT metric_timestamp, metric_name FROM metrics WHERE metric_type = 'alert'") == [
        (datetime(2024, 3, 5), "calls")
    ]
    assert len(mails) == 1
    assert "calls" in mails[0]["Subject"]
    again = task(operator(AnomstackAlertOperator, config=KEYS), NOT_DUE).run()
    assert (again["sent"], again["outcomes"]) == (0, summary["outcomes"])
    assert len(mails) == 1


@pytest.mark.usefixtures("scored")
@pytest.mark.parametrize(("notify", "sent"), [(False, 0), (True, 1)])
def test_alerts_of_a_backfill_are_sent_only_if_the_batch_says_so(
    operator, task, query: Query, mails: list[EmailMessage], notify: bool, sent: int
) -> None:
    keys = {**KEYS, "notify_on_backfill": notify}
    summary = task(operator(AnomstackAlertOperator, config=keys), NOT_DUE, run_type="backfill").run()
    assert summary["outcomes"]["alerted"] == 1
    assert (summary["sent"], summary.get("suppressed", 0)) == (sent, 1 - sent)
    assert len(mails) == sent
    later = task(operator(AnomstackAlertOperator, config=keys), NOT_DUE, run_type="scheduled").run()
    assert later["sent"] == 0, "known since the backfill, and never to be sent"
    assert query("SELECT status FROM metrics_deliveries") == [("sent" if notify else "suppressed",)]


@pytest.mark.usefixtures("scored")
def test_a_route_sends_to_its_own_destination_and_to_a_notifier(
    operator, task, query: Query, mails: list[EmailMessage]
) -> None:
    notifier = {
        "name": "pager",
        "class": "airflow.providers.smtp.notifications.smtp.SmtpNotifier",
        "args": {
            "to": "pager@example.com",
            "smtp_conn_id": "smtp_default",
            "subject": "{{ event.metric_name }} in {{ event.metric_batch }}",
            "html_content": "{{ text }}",
        },
    }
    routes = [{"metrics": "calls", "channels": "email, pager", "email_to": "calls@example.com"}]
    keys = {**KEYS, "notifiers": [notifier], "routes": routes}
    assert task(operator(AnomstackAlertOperator, config=keys), NOT_DUE).run()["sent"] == 2
    assert [mail["To"] for mail in mails] == ["calls@example.com", "pager@example.com"]
    assert mails[1]["Subject"] == "calls in b"
    assert query("SELECT channel, status FROM metrics_deliveries ORDER BY seq") == [
        ("email:calls@example.com", "sent"),
        ("pager", "sent"),
    ]


@pytest.mark.usefixtures("scored")
def test_what_is_beyond_the_budget_is_held_and_the_task_is_green(
    operator, task, query: Query, mails: list[EmailMessage]
) -> None:
    keys = {**KEYS, "budget_per_week": {"email": 0}}
    summary = task(operator(AnomstackAlertOperator, config=keys), NOT_DUE).run()
    assert (summary["sent"], summary["held"]) == (0, 1)
    assert query("SELECT status FROM metrics_deliveries") == [("held",)]
    assert mails == []


@pytest.mark.usefixtures("scored")
def test_what_is_abandoned_is_counted_and_the_task_red_once(operator, task, query: Query) -> None:
    keys = {**KEYS, "delivery_attempts": 1, "smtp_conn_id": "nowhere"}
    run = task(operator(AnomstackAlertOperator, config=keys), NOT_DUE)
    with pytest.raises(Exception, match="email: abandoned after 1 try: no Airflow connection 'nowhere'"):
        run.run()
    assert run.ti.pushed["return_value"]["abandoned"] == 1
    assert query("SELECT status FROM metrics_deliveries") == [("abandoned",)]
    assert task(operator(AnomstackAlertOperator, config=keys), NOT_DUE).run()["sent"] == 0


@pytest.mark.usefixtures("scored")
def test_a_channel_that_fails_makes_the_task_fail_and_the_retry_sends(
    operator, task, query: Query, mails: list[EmailMessage], monkeypatch: pytest.MonkeyPatch
) -> None:
    working = os.environ["AIRFLOW_CONN_SMTP_DEFAULT"]
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps({**json.loads(working), "port": 1}))
    run = task(operator(AnomstackAlertOperator, config=KEYS), NOT_DUE)
    with pytest.raises(Exception, match="email: no mail through connection 'smtp_default'") as caught:
        run.run()
    assert not isinstance(caught.value, AirflowFailException), "it is to be tried again"
    assert run.ti.pushed["return_value"]["delivery_failed"] == 1
    assert query("SELECT count(*) FROM metrics WHERE metric_type = 'alert'") == [(1,)]
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", working)
    assert task(operator(AnomstackAlertOperator, config=KEYS), NOT_DUE).run()["sent"] == 1
    assert len(mails) == 1


@pytest.mark.usefixtures("scored")
def test_a_metric_that_cannot_be_judged_does_not_hide_what_was_not_sent(
    operator, task, database: Path, query: Query
) -> None:
    import duckdb

    with duckdb.connect(str(database)) as connection:
        cut = """UPDATE metrics SET metadata = '{"value": 1, "grain": "1'"""
        connection.execute(f"{cut} WHERE metric_type = 'score' AND metric_name = 'orders'")
    run = task(operator(AnomstackAlertOperator, config={**KEYS, "smtp_conn_id": "nowhere"}), NOT_DUE)
    with pytest.raises(Exception, match="no Airflow connection 'nowhere'") as caught:
        run.run()
    assert "orders: one of its score rows" in str(caught.value)
    assert not isinstance(caught.value, AirflowFailException), "it is to be tried again"
    left = run.ti.pushed["return_value"]
    assert (left["delivery_failed"], left["outcomes"]) == (1, {"alerted": 1, "evaluated": 1, "failed": 1})


@pytest.mark.usefixtures("scored")
def test_links_lead_to_the_run_and_to_its_query(
    operator, task, mails: list[EmailMessage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com/")
    task(operator(AnomstackAlertOperator, config=KEYS), NOT_DUE).run()
    (plain,) = (part for part in mails[0].walk() if part.get_content_type() == "text/plain")
    links = dict(line.split() for line in plain.get_content().splitlines() if "https://" in line)
    assert links["Run"].startswith("https://airflow.example.com/dags/d/runs/")
    assert links["Query"] == f"{links['Run']}/tasks/ingest/rendered_templates"


@pytest.mark.usefixtures("scored")
def test_a_batch_that_does_not_ingest_has_no_query_to_show(
    operator, task, mails: list[EmailMessage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com/")
    task(operator(AnomstackAlertOperator, config={**KEYS, "disable_ingest": True}), NOT_DUE).run()
    (plain,) = (part for part in mails[0].walk() if part.get_content_type() == "text/plain")
    assert "rendered_templates" not in plain.get_content()


# --- watch -----------------------------------------------------------------------------------------------------------


def test_the_watch_fails_naming_steps_and_metrics(task) -> None:
    with DAG("d", schedule=None):
        watch = AnomstackWatchOperator(task_id="watch")
        steps = [AnomstackScoreOperator(task_id=name, config=KEYS) for name in ("train", "score", "alert", "publish")]
        steps >> watch
    failed = {"outcomes": {"failed": 1}, "not_evaluated": {"calls": "failed: it is broken"}}
    run = task(watch)
    # Two shards of train; score failed before it could say anything; alert is fine.
    run.ti.left_by.update(train=[{"outcomes": {"trained": 2}}, failed], score=None, alert={"outcomes": {"alerted": 1}})
    run.ti.left_by.update(publish=2)  # what it leaves is a number
    with pytest.raises(AirflowFailException) as caught:
        run.run()
    assert "train: 1 metrics failed: {'calls': 'failed: it is broken'}" in str(caught.value)
    assert "alert" not in str(caught.value)
    run.ti.left_by.clear()
    with pytest.raises(AirflowFailException, match="see the logs of the failed tasks"):
        run.run()


def test_the_days_of_the_tests_are_what_they_are_said_to_be() -> None:
    assert date(2024, 3, 4).weekday() == 0
    assert date.fromisoformat(NOT_DUE[0]) - date(2024, 3, 4) == timedelta(1)


# --- a model store that fails ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("ingested")
def test_without_a_model_store_train_fails_and_score_scores(operator, task, tmp_path: Path, query: Query) -> None:
    task(operator(AnomstackScoreOperator, config=KEYS)).run()
    wanted = query("SELECT * FROM metrics WHERE metric_type = 'score' ORDER BY ALL")
    query("DELETE FROM metrics WHERE metric_type = 'score'")
    (tmp_path / "file").write_text("where a folder should be")
    keys = {**KEYS, "model_path": str(tmp_path / "file" / "models")}
    with pytest.raises(OSError, match=r"Cannot look at .*/file/models/b/.*Not a directory"):
        task(operator(AnomstackTrainOperator, config=keys)).run()
    summary = task(operator(AnomstackScoreOperator, config=keys)).run()
    assert summary["outcomes"] == {"scored": 3}
    assert summary["model_store"] == "unavailable"
    assert query("SELECT * FROM metrics WHERE metric_type = 'score' ORDER BY ALL") == wanted


@pytest.mark.parametrize("cls", [AnomstackTrainOperator, AnomstackScoreOperator])
def test_a_model_store_that_no_connection_leads_to_fails_every_task(operator, task, cls) -> None:
    with pytest.raises(OSError, match=r"s3://mistyped@bucket/models.*Check the connection id"):
        task(operator(cls, config={**KEYS, "model_path": "s3://mistyped@bucket/models"})).run()
