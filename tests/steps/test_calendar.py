"""What a calendar does to alerts: a suppressed bucket is scored and silent, a note goes out with the alert."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.steps.alert import alert
from anomstack_provider.steps.preview import preview, to_json
from anomstack_provider.steps.score import score
from tests.steps.conftest import Rig, at, noise

RigOf = Callable[..., Rig]

LOUD = {
    "model_configs": [{"model_name": "KNN", "model_tag": "knn", "model_params": {"contamination": 0.01}}],
    "preprocess_params": {"diff_n": 0, "smooth_n": 0, "lags_n": 0},
    "alert_smooth_n": 0,
}
SUPPRESSED = {"name": "Migration", "start": "2024-02-20", "action": "suppress"}


def spiked(*places: int) -> np.ndarray:
    values = noise(60)
    values[list(places)] += 100
    return values


def run(r: Rig, start: str, end: str) -> Any:
    window = r.window(start, end)
    score(r.spec, window, r.store, r.models)
    return alert(r.spec, window, r.store, r.models)


def test_a_suppressed_bucket_is_scored_counted_and_silent(rig: RigOf) -> None:
    r = rig(**LOUD, events=[SUPPRESSED])
    r.put("m", spiked(50))  # 20 February
    answer = run(r, "2024-02-20", "2024-02-21")
    assert answer.alerts == ()
    assert (answer.result.outcomes, answer.result.facts["suppressed"]) == ({"m": "evaluated"}, 1)
    scores = r.rows("score").set_index("metric_timestamp")["metric_value"]
    assert scores[str(at("2024-02-20").date())] == 1.0
    # The next run looks at it again and counts only its own.
    assert run(r, "2024-02-21", "2024-02-22").result.facts["suppressed"] == 0


def test_a_suppressed_bucket_that_is_quiet_is_not_counted(rig: RigOf) -> None:
    r = rig(**LOUD, events=[{**SUPPRESSED, "start": "2024-02-01", "end": "2024-02-29"}])
    r.put("m", noise(60))
    answer = run(r, "2024-02-20", "2024-02-21")
    assert (answer.alerts, answer.result.facts["suppressed"]) == ((), 0)


def test_a_suppression_is_of_its_metrics_alone(rig: RigOf) -> None:
    r = rig(**LOUD, events=[{**SUPPRESSED, "tags": {"team": "x"}}], metric_tags={"quiet": {"team": "x"}})
    r.put("quiet", spiked(50))
    r.put("loud", spiked(50))
    answer = run(r, "2024-02-20", "2024-02-21")
    assert [found.metric_name for found in answer.alerts] == ["loud"]
    assert answer.result.facts["suppressed"] == 1


def test_a_suppressed_bucket_does_not_snooze_the_next(rig: RigOf) -> None:
    r = rig(**LOUD, events=[SUPPRESSED])
    r.put("m", spiked(50, 51))
    assert [found.bucket for found in run(r, "2024-02-21", "2024-02-22").alerts] == [at("2024-02-21")]


@pytest.mark.parametrize(("events", "alerts"), [([], 1), ([SUPPRESSED], 0)])
def test_a_suppressed_bucket_does_not_count_in_the_smoothing_of_the_next(
    rig: RigOf, events: list[Any], alerts: int
) -> None:
    keys = {**LOUD, "alert_smooth_n": 1, "alert_threshold": 0.5, "alert_snooze_n": 0, "disable_change": True}
    r = rig(**keys, events=events)
    r.put("m", spiked(50))
    found = run(r, "2024-02-21", "2024-02-22").alerts
    assert [one.bucket for one in found].count(at("2024-02-21")) == alerts


def test_an_event_that_is_added_later_takes_the_alert_away(rig: RigOf) -> None:
    r = rig(**LOUD)
    r.put("m", spiked(50))
    assert len(run(r, "2024-02-20", "2024-02-21").alerts) == 1
    r = rig(**LOUD, events=[SUPPRESSED])
    assert run(r, "2024-02-20", "2024-02-21").alerts == ()
    assert r.rows("alert").empty


def test_with_nothing_but_suppressed_buckets_nothing_is_judged(rig: RigOf) -> None:
    r = rig(**LOUD, events=[{**SUPPRESSED, "start": "2023-01-01", "end": "2025-01-01"}])
    r.put("m", spiked(50))
    answer = run(r, "2024-02-20", "2024-02-21")
    assert (answer.alerts, answer.result.outcomes) == ((), {"m": "evaluated"})
    assert answer.result.facts["suppressed"] == 1


@pytest.mark.parametrize("begin", ["2024-02-20", "2024-02-16", "2024-01-20"])
def test_one_run_over_all_gives_what_single_runs_give(rig: RigOf, begin: str) -> None:
    events = [{**SUPPRESSED, "start": begin, "end": "2024-02-21"}]
    keys = {**LOUD, "alert_smooth_n": 2, "alert_threshold": 0.2, "score_max_n": 1, "events": events}
    live, whole = (rig(**keys, table_key=table) for table in ("live", "whole"))
    for r in (live, whole):
        r.put("m", spiked(48, 50, 55))  # 18, 20 and 25 February
    single = {found for day in range(46, 59) for found in run(live, *_day(day)).alerts}
    # The first of them look at buckets before the window too.
    assert set(run(whole, "2024-02-16", "2024-02-29").alerts) == {a for a in single if a.bucket >= at("2024-02-16")}
    assert single


def _day(number: int) -> tuple[str, str]:
    day = np.datetime64("2024-01-01") + number
    return str(day), str(day + 1)


def test_a_note_goes_out_with_the_alert(rig: RigOf) -> None:
    events = [{"name": "Sale", "start": "2024-02-18", "end": "2024-02-20"}]
    r = rig(**LOUD, holidays=[{"country": "US", "action": "annotate"}], events=events)
    r.put("m", spiked(49, 50))
    (found,) = run(r, "2024-02-19", "2024-02-20").alerts
    assert found.note == "Holiday: Washington's Birthday; Sale"
    assert Alert.from_json(r.rows("alert")["metadata"][0]) == found


def test_a_preview_says_what_is_suppressed(rig: RigOf) -> None:
    events = [SUPPRESSED, {"name": "Sale", "start": "2024-02-25"}]
    r = rig(**LOUD, events=events)
    r.put("m", spiked(50, 55))
    found = preview(r.spec, r.window("2024-02-10", "2024-03-01"), r.store)
    assert [to_json(one)["note"] for one in found.opened] == ["Sale"]
    assert found.outcomes()["suppressed"] == 1
    scores = found.scores.set_index("metric_timestamp")
    assert scores.loc["2024-02-20", ["score", "alerted"]].tolist() == [1.0, 0]
