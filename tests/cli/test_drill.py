"""``anomstack drill`` from its arguments to the table it prints and the mail it sends."""

from __future__ import annotations

import json
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anomstack_provider.cli import main
from anomstack_provider.store.hooks import EmbeddedDuckDBHook
from anomstack_provider.store.metric_store import MetricStore
from tests.system.airflow_rig import MailBox, mail_server

BATCH = """
    metric_batch: shop
    schedule: "@daily"
    train_cron_schedule: "@monthly"
    ingest_sql: SELECT 1
    grain: 1d
    alert_methods: email
    {more}
"""
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., MetricStore]:
    """Make a batch of two metrics, a hundred days of each."""

    def build(more: str = "email_to: team@example.com") -> MetricStore:
        (tmp_path / "metrics").mkdir()
        (tmp_path / "metrics" / "shop.yaml").write_text(BATCH.format(more=more), "utf-8")
        monkeypatch.setenv("AIRFLOW__ANOMSTACK__METRICS_DIR", str(tmp_path / "metrics"))
        monkeypatch.setenv("AIRFLOW__ANOMSTACK__DUCKDB_PATH", str(tmp_path / "metrics.duckdb"))
        store = MetricStore(EmbeddedDuckDBHook(tmp_path / "metrics.duckdb"), "metrics", "shop")
        times = pd.date_range("2024-01-01", periods=100, freq="1D").astype("datetime64[us]")
        for seed, name in enumerate(("orders", "<b>visits</b>")):
            values = np.random.default_rng(seed).normal(100, 5, len(times))
            rows = {"metric_name": name, "metric_type": "metric", "metric_timestamp": times, "metric_value": values}
            store.replace(pd.DataFrame({**rows, "metadata": None}))
        return store

    return build


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> tuple[int, str, str]:
        try:
            code = main(["drill", *arguments])
        except SystemExit as end:
            code = int(str(end.code))
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Any:
    with mail_server() as (box, connection):
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", connection)
        yield box


def tables(tmp_path: Path) -> list[str]:
    import duckdb

    with duckdb.connect(str(tmp_path / "metrics.duckdb")) as connection:
        return [name for (name,) in connection.execute("SELECT table_name FROM information_schema.tables").fetchall()]


def test_a_table_says_what_was_told_and_when(shop: Any, run: Run, tmp_path: Path) -> None:
    shop()
    code, out, err = run("shop", "orders", "--kinds", "spike,drop", "--charts", str(tmp_path / "charts"))
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "shop, orders: faults in a copy of its newest buckets"
    assert [line.split()[:5] for line in lines[3:5]] == [
        ["spike", "1", "opened", "0", "anomaly"],
        ["drop", "1", "opened", "0", "anomaly"],
    ]
    assert "spike: [DRILL] [" in out
    charts = sorted((tmp_path / "charts").iterdir())
    assert [chart.name[:11] for chart in charts] == ["drill-drop-", "drill-spike"]
    assert all(chart.read_bytes().startswith(b"\x89PNG") for chart in charts)


def test_json_has_every_fault_and_bad_news_its_exit_code(shop: Any, run: Run) -> None:
    shop("alert_gates: {min_abs_change: 1000000}")
    code, out, _ = run("shop", "orders", "--kinds", "drop", "--output", "json")
    answer = json.loads(out)
    assert code == 1
    assert (answer["metric_batch"], answer["metric_name"]) == ("shop", "orders")
    (drop,) = answer["drills"]
    assert (drop["transition"], drop["buckets_after"]) == (None, None)
    assert set(drop["stopped"]) == {"min_abs_change"}


def test_a_message_goes_all_the_way_and_leaves_no_trace(shop: Any, run: Run, box: MailBox, tmp_path: Path) -> None:
    shop()
    code, out, _ = run("shop", "<b>visits</b>", "--kinds", "spike", "--send", "email", "--output", "json")
    assert code == 0
    assert json.loads(out)["drills"][0]["sent"] == "acknowledged"
    (mail,) = box.mails
    assert mail["Subject"].startswith("[DRILL] [")
    assert mail["To"] == "team@example.com"
    assert "drill-" in mail["X-Anomstack-Event"]
    parts: dict[str, EmailMessage] = {part.get_content_type(): part for part in mail.walk()}  # type: ignore[misc]
    assert parts["text/plain"].get_content().startswith("[DRILL] [")
    html = parts["text/html"].get_content()
    assert "This is a drill" in html
    assert "<b>visits" not in html
    assert "anomstack feedback" not in html + parts["text/plain"].get_content(), "no table knows the event"
    assert parts["image/png"].get_content().startswith(b"\x89PNG")
    assert tables(tmp_path) == ["metrics"], "no ledger"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["shop", "nothing"],
            "anomstack: batch 'shop' has no stored metric 'nothing'; there are: <b>visits</b>, orders",
        ),
        (["nowhere", "orders"], "no batch 'nowhere'"),
        (["shop", "orders", "--kinds", "spike,bang"], "there is no kind 'bang', only spike, drop, flat, gap, drift"),
        (["shop", "orders", "--size", "-1"], "'-1' is not a number above 0"),
        (["shop", "orders", "--send", "pigeon"], "there is no channel 'pigeon'"),
        (["shop", "orders", "--send", "slack"], "channel 'slack' has no destination: set slack_channel"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_call_is_said(shop: Any, run: Run, arguments: list[str], said: str) -> None:
    shop()
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert said in err


def test_a_channel_that_refuses_is_bad_news(shop: Any, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    shop()
    nobody = {"conn_type": "smtp", "host": "127.0.0.1", "port": 1, "extra": {"disable_tls": True, "disable_ssl": True}}
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(nobody))
    code, out, _ = run("shop", "orders", "--kinds", "spike", "--send", "email")
    assert code == 1
    assert "  not sent: " in out
    assert "acknowledged" not in out


def test_every_fault_has_its_line(shop: Any, run: Run) -> None:
    shop()
    code, out, _ = run("shop", "orders", "--output", "json")
    drills = {drill["fault"]: drill for drill in json.loads(out)["drills"]}
    assert list(drills) == ["spike", "drop", "flat", "gap", "drift"]
    told = {kind for kind, drill in drills.items() if drill["transition"]}
    assert told >= {"spike", "drop", "gap"}
    assert code == (0 if len(told) == 5 else 1)
    assert all(drills[kind]["first_line"].startswith("[DRILL] [") for kind in told)
    assert drills["gap"]["kind"] == "late"
