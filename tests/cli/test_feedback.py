"""``anomstack feedback`` from its arguments to the table and back, on a DuckDB file and a metrics folder."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anomstack_provider.cli import _parser, main
from anomstack_provider.messages.facts import VERDICTS
from anomstack_provider.messages.message import compose
from anomstack_provider.store.hooks import EmbeddedDuckDBHook
from anomstack_provider.store.metric_store import MetricStore

BATCH = """
    metric_batch: shop
    schedule: "@daily"
    train_cron_schedule: "@weekly"
    timezone: Europe/Berlin
    ingest_sql: SELECT 1
    grain: 1d
    {more}
"""
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., MetricStore]:
    """Make a batch of one metric, a day's bucket up to yesterday; in Berlin's days."""

    def build(name: str = "orders", more: str = "", spikes: tuple[int, ...] = ()) -> MetricStore:
        (tmp_path / "metrics").mkdir()
        (tmp_path / "metrics" / "shop.yaml").write_text(BATCH.format(more=more), "utf-8")
        monkeypatch.setenv("AIRFLOW__ANOMSTACK__METRICS_DIR", str(tmp_path / "metrics"))
        monkeypatch.setenv("AIRFLOW__ANOMSTACK__DUCKDB_PATH", str(tmp_path / "metrics.duckdb"))
        store = MetricStore(EmbeddedDuckDBHook(tmp_path / "metrics.duckdb"), "metrics", "shop")
        times = pd.date_range(end=TODAY.replace(tzinfo=None), periods=121, freq="1D", tz="Europe/Berlin")[:-1]
        values = np.random.default_rng(3).normal(100, 5, len(times))
        for day in spikes:
            values[-day] += 100
        rows = {"metric_name": name, "metric_type": "metric", "metric_timestamp": times, "metric_value": values}
        store.replace(pd.DataFrame({**rows, "metadata": None}))
        return store

    return build


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        code = main(["feedback", *arguments])
    except SystemExit as end:
        code = int(str(end.code))
    out, err = capsys.readouterr()
    return code, out, err


def day(back: int) -> str:
    """A day of the calendar, so many before today: a naive bucket."""
    return f"{TODAY - timedelta(days=back):%Y-%m-%d}"


def test_a_verdict_is_given_and_listed(shop: Any, capsys: Any) -> None:
    shop()
    assert run(capsys, "shop", "orders", day(5), "real", "--note", "outage", "--by", "ann")[:2] == (
        0,
        "orders: real, 1 bucket\n",
    )
    assert run(capsys, "shop", "orders", day(6), "false_alarm", "--by", "ann")[0] == 0
    assert run(capsys, "shop", "orders", day(7), "snooze", "--for", "3d", "--by", "bo")[0] == 0
    code, out, _ = run(capsys, "shop")
    until = (datetime.now(UTC) + timedelta(days=3)).strftime("%Y-%m")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "shop: 3 verdicts"
    assert lines[1].startswith(f"  {day(7)} 00:00  orders  snooze until {until}")
    assert lines[2] == f"  {day(6)} 00:00  orders  false alarm, by ann"
    assert lines[3] == f"  {day(5)} 00:00  orders  real, by ann: outage"
    assert lines[-1] == "  orders: 1 of 2 (50%)"


def test_who_gives_it_is_the_user_of_the_system(shop: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "carla")
    shop()
    run(capsys, "shop", "orders", day(5), "new_normal")
    listed = json.loads(run(capsys, "shop", "--output", "json")[1])
    (verdict,) = listed["feedback"]
    assert (verdict["verdict"], verdict["by"], verdict["metric_name"]) == ("new_normal", "carla", "orders")
    assert datetime.now(UTC) - datetime.fromisoformat(verdict["given_at"]) < timedelta(minutes=5)
    assert (listed["precision"], listed["suggestions"]) == ({}, [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["shop", "orders", "{day}T12:00", "real"], "has no bucket {day}T12:00:00+0"),
        (["shop", "ordres", "{day}", "real"], "no metric 'ordres'; near it: 'orders'"),
        (["shop", "orders", "{day}"], "BATCH alone, or BATCH METRIC BUCKET VERDICT"),
        (["shop", "orders", "someday", "real"], "expected a date such as"),
        (["shop", "orders", "{day}", "nice"], "invalid choice: 'nice'"),
        (["shop", "orders", "{day}", "snooze"], "a snooze needs an end: --for and a length"),
        (["shop", "orders", "{day}", "snooze", "--for", "long"], "expected a duration such as"),
        (["shop", "orders", "{day}", "snooze", "--for", "3d", "--until", "2100-01-01"], "not allowed with"),
        (["shop", "orders", "{day}", "real", "--event", "x"], "has no event 'x'"),
        (["shpo"], "no batch 'shpo'"),
    ],
)
def test_a_wrong_call_is_said_in_a_line(shop: Any, capsys: Any, arguments: list[str], message: str) -> None:
    shop()
    code, out, err = run(capsys, *(text.format(day=day(5)) for text in arguments))
    assert (code, out) == (2, "")
    assert message.format(day=day(5)) in err
    assert "Traceback" not in err


def test_the_nearest_buckets_are_named(shop: Any, capsys: Any) -> None:
    shop()
    _, _, err = run(capsys, "shop", "orders", f"{day(5)}T12:00", "real")
    assert all(f"{day(back)}T00:00:00+0" in err for back in (3, 4, 5, 6))


def test_odd_names_and_notes_do_nothing_to_a_terminal(shop: Any, capsys: Any) -> None:
    name = "o'r/d\x1b[2Jers 🎉 %s"
    shop(name=name)
    assert run(capsys, "shop", name, day(5), "real", "--note", "\x1b]0;x\x07")[0] == 0
    _, out, _ = run(capsys, "shop")
    assert "\x1b" not in out
    assert "o'r/d\N{REPLACEMENT CHARACTER}[2Jers 🎉 %s" in out


def test_three_false_alarms_suggest_a_setting_and_say_what_it_changes(shop: Any, capsys: Any) -> None:
    store = shop(more="false_alarms_per_month: 25", spikes=(4,))
    for back in (10, 11):
        run(capsys, "shop", "orders", day(back), "false_alarm")
    assert json.loads(run(capsys, "shop", "--output", "json")[1])["suggestions"] == []
    run(capsys, "shop", "orders", day(12), "false_alarm")
    (found,) = json.loads(run(capsys, "shop", "--output", "json")[1])["suggestions"]
    assert (found["key"], found["present"], found["suggested"]) == ("false_alarms_per_month", 25, 12.5)
    assert found["false_alarms"] == 3
    assert found["alerts_now"] > found["alerts_then"] > 0
    text = run(capsys, "shop")[1]
    assert "orders: 3 false alarms in 30 days" in text
    assert (
        f"12.5 instead of 25 would have alerted {found['alerts_then']} instead of {found['alerts_now']} times" in text
    )
    stored = store.read(["score", "alert"], since=None, until=TODAY)
    assert stored.empty  # a preview writes nothing


def test_with_a_threshold_a_higher_one_is_suggested(shop: Any, capsys: Any) -> None:
    shop(more="alert_threshold: 0.8")
    for back in (10, 11, 12):
        run(capsys, "shop", "orders", day(back), "false_alarm")
    (found,) = json.loads(run(capsys, "shop", "--output", "json")[1])["suggestions"]
    assert (found["key"], found["present"], found["suggested"]) == ("alert_threshold", 0.8, 0.9)


def test_every_answer_that_a_message_names_is_one_that_the_command_takes(make_alert: Any) -> None:
    text = compose(make_alert(), timezone="UTC", links={}).text
    given, hint = text[text.index("Answer") :].splitlines()[:2]
    answers = hint.split("VERDICT is ")[1].replace(" or ", ", ").split(", ")
    taken = []
    for answer in answers:
        words = shlex.split(given.removeprefix("Answer").replace("VERDICT", answer))
        arguments = _parser().parse_args(words[1:])
        taken.append((arguments.verdict, arguments.length))
    assert taken == [(word, None) for word in VERDICTS[:-1]] + [(VERDICTS[-1], timedelta(days=3))]
