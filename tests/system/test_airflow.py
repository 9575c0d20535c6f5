"""A metrics folder in a real Airflow: triggered, backfilled, backfilled again, beside a broken batch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytestmark = [pytest.mark.system, pytest.mark.timeout(1800)]

SHOP = "anomstack_shop"
FIRST, LAST, AFTER = "2024-03-01T00:00:00Z", "2024-03-14T00:00:00Z", "2024-03-15"
DAYS = 14


@dataclass(frozen=True)
class Stored:
    """All rows of the metrics table and of the ledger, every column, in order."""

    metrics: list[tuple[Any, ...]]
    deliveries: list[tuple[Any, ...]]

    def of_type(self, kind: str) -> list[tuple[Any, ...]]:
        return [row for row in self.metrics if row[3] == kind]


def stored(site) -> Stored:
    return Stored(
        site.query("SELECT * FROM metrics ORDER BY ALL"), site.query("SELECT * FROM metrics_deliveries ORDER BY ALL")
    )


@pytest.fixture(scope="module")
def first_run(site) -> str:
    """The run that a person starts first, beside the one that the scheduler starts when the DAG is unpaused."""
    site.airflow.unpause(SHOP)
    run_id = site.airflow.trigger(SHOP)
    site.airflow.all_finished(SHOP, 2)
    return run_id


@pytest.fixture(scope="module")
def backfilled(site, first_run: str) -> tuple[Stored, list[EmailMessage]]:
    """What two weeks of backfill leave behind, and the mails they send."""
    site.airflow.backfill(SHOP, FIRST, LAST, "none")
    return stored(site), list(site.box.mails)


def test_the_first_run_loads_the_history_and_is_green(site, first_run: str) -> None:
    runs = site.airflow.runs(SHOP)
    assert {run["state"] for run in runs} == {"success"}, site.airflow.log(SHOP, first_run, "ingest")
    source = site.query("SELECT day, 'orders ' || shop, orders FROM shop_orders ORDER BY ALL")
    table = site.query(
        "SELECT metric_timestamp, metric_name, metric_value FROM metrics WHERE metric_type = 'metric' ORDER BY ALL"
    )
    assert table == source
    assert site.airflow.task(SHOP, first_run, "watch")["state"] == "skipped"
    summary = site.airflow.xcom(SHOP, first_run, "ingest")
    assert (summary["step"], summary["metrics"], summary["outcomes"]) == ("ingest", 3, {"ingested": 3})


def test_every_run_of_the_backfill_is_green_and_owns_its_day(site, backfilled: Any) -> None:
    runs = [run for run in site.airflow.runs(SHOP) if run["run_type"] == "backfill"]
    assert sorted(run["data_interval_start"][:10] for run in runs) == [f"2024-03-{d:02d}" for d in range(1, DAYS + 1)]
    assert {run["state"] for run in runs} == {"success"}
    some_day = next(run["dag_run_id"] for run in runs if run["data_interval_start"].startswith("2024-03-05"))
    assert "'2024-03-05 00:00:00+00:00'" in site.airflow.task(SHOP, some_day, "ingest")["rendered_fields"]["sql"]
    assert site.airflow.xcom(SHOP, some_day, "score")["outcomes"] == {"scored": 3}
    assert site.airflow.xcom(SHOP, some_day, "alert")["outcomes"] == {"alerted": 1, "evaluated": 2}
    assert site.airflow.task(SHOP, some_day, "train")["state"] == "skipped"  # a Tuesday, and Mondays are for training


def test_the_two_days_that_were_planted_are_alerts_with_one_mail_each(backfilled: tuple[Stored, Any]) -> None:
    tables, mails = backfilled
    found = {(row[0].date().isoformat(), row[2]) for row in tables.of_type("alert")}
    assert {("2024-03-05", "orders north"), ("2024-03-11", "orders south")} <= found
    assert len(tables.of_type("alert")) == len(tables.deliveries)
    assert len(mails) == sum("sent" in row for row in tables.deliveries)
    # Runs of a backfill end in any order: the end of an event is not told where its beginning was not told yet.
    assert all("closed" in row for row in tables.deliveries if "sent" not in row)
    assert len({mail["Message-ID"] for mail in mails}) == len(mails)
    for mail in mails:
        assert mail["To"] == "team@example.com"
        pictures = [part for part in mail.walk() if part.get_content_type() == "image/png"]
        assert [part.get_content()[:8] for part in pictures] == [b"\x89PNG\r\n\x1a\n"]
    assert any("orders north" in mail["Subject"] for mail in mails)


def test_what_the_runs_wrote_is_what_preview_says(site, backfilled: tuple[Stored, Any], tmp_path: Path) -> None:
    tables, _ = backfilled
    scores = tmp_path / "scores.csv"
    period = ("--start", FIRST[:10], "--end", AFTER)
    answer = json.loads(site.anomstack("preview", "shop", *period, "--output", "json", "--scores", str(scores)))
    ours = [json.loads(row[5]) for row in tables.of_type("alert") if "2024-03-01" <= str(row[0])[:10] < AFTER]
    assert sorted((a["metric_name"], _utc(a["bucket"]), a["event_id"], a["score"], a["value"]) for a in ours) == sorted(
        (a["metric_name"], _utc(a["metric_timestamp"]), a["event_id"], a["score"], a["value"]) for a in answer["alerts"]
    )
    table = pd.read_csv(scores, dtype={"score": str})
    previewed = {(row.metric_name, _utc(row.metric_timestamp)): float(row.score) for row in table.itertuples()}
    live = {(row[2], _utc(row[0].isoformat() + "Z")): row[4] for row in tables.of_type("score")}
    period_of_live = {key: score for key, score in live.items() if FIRST[:10] <= key[1][:10] < AFTER}
    assert len(period_of_live) == 3 * DAYS
    assert {key: score.hex() for key, score in period_of_live.items()} == {k: s.hex() for k, s in previewed.items()}


def test_the_same_backfill_again_changes_no_byte_and_sends_nothing(site, backfilled: tuple[Stored, Any]) -> None:
    before, mails = backfilled
    ended = {run["dag_run_id"]: run["end_date"] for run in site.airflow.runs(SHOP)}
    site.airflow.backfill(SHOP, FIRST, LAST, "completed")
    runs = [run for run in site.airflow.runs(SHOP) if run["run_type"] == "backfill"]
    assert len(runs) == DAYS
    assert all(run["end_date"] > ended[run["dag_run_id"]] for run in runs), "they did run again"
    assert {run["state"] for run in runs} == {"success"}
    after = stored(site)
    assert [_bits(row) for row in after.metrics] == [_bits(row) for row in before.metrics]
    assert after.deliveries == before.deliveries
    assert len(site.box.mails) == len(mails)


# --- beside it -------------------------------------------------------------------------------------------------------


def test_a_broken_batch_is_a_stub_that_names_file_line_and_key(site) -> None:
    expected = "broken.yaml:5: alert_treshold: unknown key; did you mean 'alert_threshold'?"
    assert "config-error" in {tag["name"] for tag in site.airflow.dag("anomstack_broken")["tags"]}
    site.airflow.unpause("anomstack_broken")
    run_id = site.airflow.trigger("anomstack_broken")
    assert site.airflow.finished("anomstack_broken", run_id)["state"] == "failed"
    assert expected in site.airflow.log("anomstack_broken", run_id, "config_error")
    health = "anomstack_health_of_config"
    site.airflow.unpause(health)
    run_id = site.airflow.trigger(health)
    assert site.airflow.finished(health, run_id)["state"] == "failed"
    assert expected in site.airflow.log(health, run_id, "check")
    assert site.airflow.api("GET", "/importErrors")["total_entries"] == 0


def test_every_kind_of_run_gets_its_window(site) -> None:
    airflow = site.airflow
    airflow.unpause("anomstack_clock", "hand", "starter")
    null_date = airflow.trigger("anomstack_clock")
    with_date = airflow.trigger("anomstack_clock", "2024-03-05T13:30:00Z")
    starter = airflow.trigger("starter")
    airflow.command("dags", "trigger", "anomstack_clock", "--run-id", "by_command")
    assert airflow.finished("starter", starter)["state"] == "success"
    runs = {run["dag_run_id"]: run for run in airflow.all_finished("anomstack_clock", 5)}
    by_operator = [run_id for run_id, run in runs.items() if run["triggered_by"] == "operator"]
    scheduled = [run_id for run_id, run in runs.items() if run["run_type"] == "scheduled"]
    assert len(by_operator) == 1
    assert scheduled
    assert runs[null_date]["logical_date"] is None
    assert runs["by_command"]["logical_date"] is None
    for run_id in (null_date, with_date, "by_command", *by_operator, *scheduled):
        run = runs[run_id]
        assert run["state"] == "success", airflow.log("anomstack_clock", run_id, "ingest")
        # The hour that was complete when the run was for, or the hour that it was scheduled for.
        end = _moment(run["data_interval_end"] or run["run_after"]).replace(minute=0, second=0, microsecond=0)
        if run_id == with_date:
            assert end.isoformat() == "2024-03-05T13:00:00+00:00"
        start = end - timedelta(hours=1)
        expected = f"from {_shown(start)} to {_shown(end)} as of {_shown(end)} on {start:%Y-%m-%d}"
        assert expected in airflow.task("anomstack_clock", run_id, "ingest")["rendered_fields"]["sql"], run
    rows = site.query("SELECT metric_timestamp FROM clock_metrics")
    assert datetime(2024, 3, 5, 12) in {row[0] for row in rows}


def test_a_dag_written_by_hand_runs_when_its_asset_is_there(site) -> None:
    airflow = site.airflow
    airflow.unpause("hand", "starter")
    if not airflow.runs("hand"):
        airflow.trigger("starter")
    (run, *_) = airflow.all_finished("hand", 1)
    run_id = run["dag_run_id"]
    assert (run["run_type"], run["logical_date"]) == ("asset_triggered", None)
    assert run["state"] == "success", airflow.log("hand", run_id, "alert")
    end = _moment(run["run_after"]).replace(minute=0, second=0, microsecond=0)
    newest = site.query("SELECT metric_type, max(metric_timestamp), count(*) FROM hand_metrics GROUP BY ALL ORDER BY 1")
    start = (end - timedelta(hours=1)).replace(tzinfo=None)
    assert newest[0] == ("metric", start, 3 * 48)
    assert newest[1][:2] == ("score", start)
    both = airflow.xcom("hand", run_id, "alert")["metrics"]
    assert both == 3


def test_old_rows_are_deleted_and_all_that_batches_need_is_checked(site) -> None:
    airflow = site.airflow
    clock, delete, check = "anomstack_clock", "anomstack_delete_of_batches", "anomstack_check_of_batches"
    assert not airflow.dag(check)["is_paused"]
    airflow.unpause(clock, delete)
    run_id = airflow.trigger(clock, "2024-03-05T15:30:00Z")
    assert airflow.finished(clock, run_id)["state"] == "success"
    old = "SELECT count(*) FROM clock_metrics WHERE metric_timestamp < '2025-01-01'"
    run_id = airflow.trigger(delete, "2024-03-20T12:00:00Z")
    assert airflow.finished(delete, run_id)["state"] == "success", airflow.log(delete, run_id, "clock")
    assert airflow.xcom(delete, run_id, "clock")["before"] == "2024-02-19T06:00:00+00:00"
    run_id = airflow.trigger(delete)
    assert airflow.finished(delete, run_id)["state"] == "success", airflow.log(delete, run_id, "clock")
    assert airflow.xcom(delete, run_id, "clock").keys() == {"before", "rows", "deliveries", "models"}
    assert site.query(old) == [(0,)]
    run_id = airflow.trigger(check)
    assert airflow.finished(check, run_id)["state"] == "success", airflow.log(check, run_id, "check")
    report = airflow.xcom(check, run_id, "check")
    assert (report["batches"], report["broken"]) == (2, {})


def test_the_newest_of_all_runs_leaves_its_picture(site, backfilled: Any) -> None:
    runs = [run["dag_run_id"] for run in site.airflow.runs(SHOP)]
    drew = [run_id for run_id in runs if site.airflow.task(SHOP, run_id, "plot")["state"] == "success"]
    assert drew, "whichever ran first had no picture before it"
    for run_id in drew:
        drawn = site.airflow.xcom(SHOP, run_id, "plot")
        assert (drawn["metrics"], drawn["left_out"]) == (3, 0)
        assert Path(drawn["path"].removeprefix("file://")).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _utc(text: str) -> str:
    return pd.Timestamp(text).tz_convert("UTC").isoformat()


def _shown(moment: datetime) -> str:
    """Return a moment as a template shows it."""
    return f"{moment:%Y-%m-%d %H:%M:%S}+00:00"


def _bits(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value.hex() if isinstance(value, float) else value for value in row)
