"""``alert_always``: each run tells the newest bucket of each metric, whatever its score, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps import feedback
from anomstack_provider.steps.alert import alert
from anomstack_provider.steps.gate import open_events
from anomstack_provider.steps.preview import preview
from anomstack_provider.steps.score import score
from anomstack_provider.steps.train import train
from tests.steps.conftest import at, noise

KEYS: dict[str, Any] = {
    "recipe": "anomstack",
    "model_configs": [{"model_name": "KNN"}],
    "preprocess_params": {"diff_n": 0, "smooth_n": 0, "lags_n": 0},
    "alert_smooth_n": 0,
    "alert_snooze_n": 0,
    "alert_threshold": 0.9,
    "disable_change": True,
}
DAYS = [f"2024-02-{day}" for day in range(20, 30)]


def batch(rig: Callable[..., Any], **keys: Any) -> Any:
    one = rig(**KEYS, **keys)
    values = noise(90)
    values[55] += 60  # 2024-02-25
    one.put("spiked", np.round(values, 4))
    one.put("quiet", np.round(noise(90, 1).clip(95, 105), 4))
    return one


def run(one: Any, start: str, end: str) -> list[Any]:
    window = RunWindow(at(start), at(end))
    train(one.spec, window, one.store, one.models)
    score(one.spec, window, one.store, one.models)
    return list(alert(one.spec, window, one.store, one.models).alerts)


def test_each_run_tells_its_newest_bucket_beside_its_events(rig: Callable[..., Any]):
    one, plain = batch(rig, alert_always=True), batch(rig)
    told = {}
    for start, end in pairwise(DAYS):
        found = run(one, start, end)
        routine = [a for a in found if a.transition == "routine"]
        events = [(a.event_id, a.transition) for a in found if a.transition != "routine"]
        assert events == [(a.event_id, a.transition) for a in run(plain, start, end)], "the events are as they were"
        opened = {a.metric_name for a in found if a.transition == "opened" and a.bucket == at(start)}
        assert {a.metric_name for a in routine} == {"spiked", "quiet"} - opened
        assert {a.bucket for a in routine} == {at(start)}
        told |= {a.event_id: a for a in routine}
    assert len(told) == 2 * 9 - 1, "the spike was told as what it is"
    assert {a.direction for a in told.values()} == {"none"}
    assert {a.why for a in told.values()} == {("Each run tells its newest bucket: alert_always is set",)}


def test_a_run_without_a_new_bucket_tells_none_that_was_not_told(rig: Callable[..., Any]):
    one = batch(rig, alert_always=True, completeness_delay="1h")
    told = {a.event_id for a in run(one, "2024-02-19", "2024-02-20")}
    again = {a.event_id for a in run(one, "2024-02-20T00:00", "2024-02-20T00:30")}
    assert again == told


def test_what_is_told_is_what_a_preview_says_in_any_order(rig: Callable[..., Any]):
    one = batch(rig, alert_always=True)
    expected = preview(one.spec, RunWindow(at(DAYS[0]), at(DAYS[-1])), one.store)
    told = {(a.event_id, a.key) for a in expected.alerts}
    found = {(a.event_id, a.key) for start, end in reversed(list(pairwise(DAYS))) for a in run(one, start, end)}
    assert found == told
    assert len([key for key in told if key[1] == "routine"]) == 17
    assert len(expected.opened) == 1


def test_its_rows_are_those_of_a_preview_however_often_a_bucket_is_looked_at(rig: Callable[..., Any]):
    one = batch(rig, alert_always=True, alert_recent_n=2)
    expected = preview(one.spec, RunWindow(at(DAYS[0]), at(DAYS[-1])), one.store).rows
    for start, end in pairwise(DAYS):
        run(one, start, end)
    rows = [
        [tuple(row) for row in found.itertuples(index=False) if row.metric_timestamp >= pd.Timestamp(DAYS[0])]
        for found in (one.rows("alert"), expected.read(["alert"], since=None, until=at("2100-01-01")))
    ]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 18


def test_it_opens_nothing_and_counts_as_no_alert(rig: Callable[..., Any]):
    one = batch(rig, alert_always=True)
    run(one, "2024-02-20", "2024-02-21")
    assert open_events(one.spec, at("2024-02-21"), one.store, one.models)[0] == []
    rows = one.rows("alert")
    assert rows["metric_value"].tolist() == [0.0, 0.0]
    assert rows["metric_name"].tolist() == ["quiet", "spiked"]


def test_metrics_that_do_not_alert_and_batches_that_do_not_are_silent(rig: Callable[..., Any]):
    some = batch(rig, alert_always=True, alert_exclude_metrics="quiet")
    assert {a.metric_name for a in run(some, "2024-02-20", "2024-02-21")} == {"spiked"}
    assert run(batch(rig, alert_always=True, disable_alert=True), "2024-02-20", "2024-02-21") == []


def test_it_wakes_nobody_even_where_a_gate_stopped_what_is_far_out(rig: Callable[..., Any]):
    settings = {"*": {"priority": "high", "alert_gates": {"min_abs_change": 1000}}}
    one = batch(rig, alert_always=True, metric_settings=settings)
    told = run(one, "2024-02-25", "2024-02-26")
    assert {(a.metric_name, a.transition, a.severity) for a in told} == {
        ("quiet", "routine", "low"),
        ("spiked", "routine", "low"),
    }


def test_a_snooze_mutes_it_while_it_lasts(rig: Callable[..., Any]):
    one = batch(rig, alert_always=True)
    given = at("2024-02-21T12:00:00")
    feedback.give(one.spec, one.store, "quiet", at("2024-02-20"), "snooze", given_at=given, until=given + timedelta(2))
    told = [
        f"{alert.bucket:%d}"
        for start, end in pairwise(DAYS[:6])
        for alert in run(one, start, end)
        if alert.metric_name == "quiet"
    ]
    assert told == ["20", "23", "24"]
