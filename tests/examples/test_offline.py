"""The examples that need no network: each finds what was planted in its made-up data, and little else."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from anomstack_provider import demo
from anomstack_provider.wiring.batches import load_spec, open_stores
from tests.examples.conftest import example, fetched, opened, previewed, window

# Batch -> where its history begins, the period to replay, what was planted.
PLANTED: dict[str, tuple[str, str, str, set[tuple[str, str, str]]]] = {
    "sales": (
        "2025-10-01",
        "2026-04-01",
        "2026-04-20",
        {("orders", "2026-04-14 00:00", "down"), ("revenue", "2026-04-14 00:00", "down")},
    ),
    "users": ("2026-03-01", "2026-04-18", "2026-04-23", {("active_users", "2026-04-21 12:00", "down")}),
    "web_traffic": (
        "2025-10-01",
        "2026-04-01",
        "2026-04-20",
        {("bounce_rate", "2026-04-16 00:00", "up"), ("server_errors", "2026-04-16 00:00", "up")},
    ),
    "dimensions": (
        "2025-10-01",
        "2026-04-15",
        "2026-04-22",
        {("orders.FR.app", "2026-04-18 00:00", "down"), ("orders", "2026-04-18 00:00", "down")},
    ),
    "warehouse": (
        "2025-10-01",
        "2026-04-01",
        "2026-04-20",
        {("rows_loaded_orders", "2026-04-08 00:00", "down"), ("hours_since_load_orders", "2026-04-08 00:00", "up")},
    ),
    "several_models": ("2025-10-01", "2026-04-20", "2026-04-25", {("payment_ms", "2026-04-22 00:00", "up")}),
    "preprocess": ("2025-12-01", "2026-04-01", "2026-04-20", {("energy_kwh", "2026-04-10 00:00", "up")}),
    "python_ingest": ("2025-10-01", "2026-04-15", "2026-05-01", {("tickets_login", "2026-04-24 00:00", "up")}),
    "thresholds": ("2026-03-01", "2026-04-18", "2026-04-22", {("temperature", "2026-04-20 06:00", "up")}),
    "holidays": ("2026-01-02", "2026-03-25", "2026-05-05", {("visitors", "2026-04-28 00:00", "down")}),
    "s3_models": ("2025-10-01", "2026-04-15", "2026-05-05", {("parcels", "2026-04-30 00:00", "down")}),
}


@pytest.mark.parametrize("name", PLANTED)
def test_what_was_planted_is_alerted_and_little_else(name: str) -> None:
    history, start, end, planted = PLANTED[name]
    found = opened(previewed(example(name), history, start, end))
    assert found >= planted
    assert len(found - planted) <= 2, found - planted


@pytest.mark.parametrize("name", PLANTED)
def test_single_days_give_the_rows_of_the_whole_window(name: str) -> None:
    spec = example(name)
    by = ["metric_name", "metric_timestamp"]
    whole = fetched(spec, "2026-04-01", "2026-04-11").sort_values(by, ignore_index=True)
    days = pd.date_range("2026-04-01", "2026-04-11").strftime("%Y-%m-%d")
    parts = [fetched(spec, first, last) for first, last in pairwise(days)]
    pd.testing.assert_frame_equal(pd.concat(parts).sort_values(by, ignore_index=True), whole)
    assert pd.to_datetime(whole["metric_timestamp"], utc=True).dt.day.nunique() == 10


def test_the_calendar_keeps_the_holidays_from_alerting() -> None:
    """Good Friday, Easter Monday and Labour Day have as few visitors as Sundays; known ones hide nothing else."""
    spec = example("holidays")
    history, start, end, _ = PLANTED["holidays"]
    assert opened(previewed(spec, history, start, end)) == {("visitors", "2026-04-28 00:00", "down")}
    without = opened(previewed(spec.model_copy(update={"holidays": ()}), history, start, end))
    assert without == {("visitors", "2026-04-03 00:00", "down")}


def test_only_the_limits_of_the_threshold_batches_alert() -> None:
    for name, metric in (("thresholds", "temperature"), ("warehouse", "hours_since_load_orders")):
        history, start, end, _ = PLANTED[name]
        found = previewed(example(name), history, start, end)
        assert {alert.kind for alert in found.opened if alert.metric_name == metric} == {"threshold"}


def test_the_flights_of_2013(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blizzard of 8 and 9 February, through the table that the demo loads."""
    demo.load()
    spec = load_spec("flights", None)
    assert open_stores(spec).metrics.newest_timestamp("metric", window("2013-01-01", "2014-01-01").end) is None
    found = opened(previewed(spec, "2013-01-01", "2013-02-05", "2013-02-12"))
    assert {(f"departures_{origin}", "2013-02-08 00:00", "down") for origin in ("EWR", "JFK", "LGA")} <= found
