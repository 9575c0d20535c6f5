"""Each step by itself: when it is due, what it writes, what it says of each metric."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from anomstack_provider.alerting.transitions import stored_alerts
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.alert import alert
from anomstack_provider.steps.ingest import ingest, windows
from anomstack_provider.steps.outcomes import StepResult
from anomstack_provider.steps.score import score
from anomstack_provider.steps.train import train
from tests.steps.conftest import Rig, at, noise

RigOf = Callable[..., Rig]


def frame(*rows: tuple[Any, ...]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["metric_timestamp", "metric_name", "metric_value"])


# -- ingest


def test_ingesting_twice_leaves_the_same_rows(rig: RigOf) -> None:
    r = rig()
    window = r.window("2024-05-01", "2024-05-02")
    for value in (1.0, 2.0, 2.0):
        result = ingest(r.spec, window, r.store, lambda _, value=value: frame(("2024-05-01", "m", value)))
        assert result.rows == 1
    assert r.rows("metric")["metric_value"].tolist() == [2.0]


def test_a_refused_row_is_reported_and_its_neighbours_are_stored(rig: RigOf) -> None:
    r = rig()
    answer = frame(("2024-05-01", "good", 1.0), ("2024-05-01", "it's/bad 😀", float("inf")))
    result = ingest(r.spec, r.window("2024-05-01", "2024-05-02"), r.store, lambda _: answer)
    assert r.rows("metric")["metric_name"].tolist() == ["good"]
    assert result.failed == {"it's/bad 😀": "row 2: metric_value is infinite: 2024-05-01, inf"}
    assert result.summary()["outcomes"] == {"failed": 1, "ingested": 1}


def test_the_first_run_loads_the_history_in_pieces_and_the_next_one_does_not(rig: RigOf) -> None:
    r = rig(history_start="2024-01-01", history_chunk="20d")
    window = r.window("2024-03-01", "2024-03-02")
    pieces = list(windows(r.spec, window, r.store))
    assert [(p.start, p.end) for p in pieces] == [
        (at("2024-01-01"), at("2024-01-21")),
        (at("2024-01-21"), at("2024-02-10")),
        (at("2024-02-10"), at("2024-03-01")),
        (window.start, window.end),
    ]
    r.put("m", noise(61))  # to 1 March
    following = r.window("2024-03-02", "2024-03-03")
    assert list(windows(r.spec, following, r.store)) == [following]


def test_a_killed_history_is_resumed_and_an_outage_leaves_no_hole(rig: RigOf) -> None:
    r = rig(history_start="2024-01-01")
    r.put("m", noise(10))  # to 10 January, then the process died
    assert next(iter(windows(r.spec, r.window("2024-03-01", "2024-03-02"), r.store))).start == at("2024-01-10")


@pytest.mark.parametrize("start", ["2024-01-01", "2024-01-01T05:00:00+00:00"])
def test_no_piece_of_a_history_cuts_a_day_of_the_batchs_zone(rig: RigOf, start: str) -> None:
    r = rig(history_start=start, timezone="America/New_York")
    pieces = list(windows(r.spec, RunWindow(at("2024-06-30T04:00"), at("2024-07-01T04:00")), r.store))
    assert pieces[0].start == at("2024-01-01T05:00")
    midnights = {piece.end.astimezone(ZoneInfo("America/New_York")).hour for piece in pieces}
    assert midnights == {0}
    assert [(a.end, b.start) for a, b in pairwise(pieces)] == [(a.end, a.end) for a in pieces[:-1]]


def test_without_a_history_start_a_run_fetches_its_own_window_only(rig: RigOf) -> None:
    r = rig()
    window = r.window("2024-03-01", "2024-03-02")
    assert list(windows(r.spec, window, r.store)) == [window]


# -- train


def test_training_is_due_when_a_tick_lies_in_the_window_or_no_model_stands(rig: RigOf) -> None:
    r = rig(schedule="@hourly")
    r.put("m", noise(60))
    at_midnight = r.window("2024-02-20T00:00", "2024-02-20T01:00")
    later = r.window("2024-02-20T05:00", "2024-02-20T06:00")
    first = train(r.spec, later, r.store, r.models)  # none stands yet
    assert first.facts["ticks"] == ["2024-02-20T00:00:00+00:00"]
    assert train(r.spec, later, r.store, r.models).facts["ticks"] == []
    assert train(r.spec, at_midnight, r.store, r.models).facts["ticks"] == ["2024-02-20T00:00:00+00:00"]


def test_the_ticks_that_the_windows_buckets_ask_for_are_trained(rig: RigOf) -> None:
    r = rig(schedule="@hourly", train_cron_schedule="*/5 * * * *")
    r.put("m", noise(600), freq="1h")
    window = r.window("2024-01-20T10:00", "2024-01-20T11:00")
    assert train(r.spec, window, r.store, r.models).facts["ticks"] == ["2024-01-20T10:00:00+00:00"]
    score(r.spec, window, r.store, r.models)
    facts = [json.loads(text) for text in r.rows("score")["metadata"]]
    assert facts[-1]["model"] == "2024-01-20T10:00:00+00:00"


def test_failed_metrics_are_named_before_those_that_only_learn() -> None:
    outcomes = {**{f"a{i:02d}": "learning 1/14" for i in range(25)}, "z": "failed: why"}
    assert next(iter(StepResult("score", outcomes=outcomes).summary()["not_evaluated"])) == "z"


def test_a_changed_config_trains_again(rig: RigOf) -> None:
    r = rig(schedule="@hourly")
    r.put("m", noise(60))
    window = r.window("2024-02-20T05:00", "2024-02-20T06:00")
    train(r.spec, window, r.store, r.models)
    changed = r.spec.model_copy(update={"train_max_n": 30})
    assert train(changed, window, r.store, r.models).facts["ticks"] == ["2024-02-20T00:00:00+00:00"]


def test_each_metric_has_its_outcome_and_none_stops_the_others(rig: RigOf) -> None:
    r = rig(train_exclude_metrics=["left out"], recipe="anomstack")
    r.put("good", noise(60))
    r.put("young", noise(9), start="2024-02-11")
    r.put("huge", noise(60) * 1e304)
    r.put("left out", noise(60))
    result = train(r.spec, r.window("2024-02-20", "2024-02-21"), r.store, r.models)
    assert result.outcomes["good"] == "trained"
    assert result.outcomes["young"] == "learning 9/14"
    assert result.outcomes["huge"].startswith("failed: CannotFit: PCA: ")
    assert set(result.outcomes) == {"good", "young", "huge"}
    assert result.summary()["outcomes"] == {"failed": 1, "learning": 1, "trained": 1}


def test_an_unknown_model_fails_by_name(rig: RigOf) -> None:
    r = rig(model_configs=[{"model_name": "KNNN", "model_tag": "x"}])
    r.put("m", noise(60))
    result = train(r.spec, r.window("2024-02-20", "2024-02-21"), r.store, r.models)
    assert "close: KNN" in result.failed["m"]


def test_the_newest_versions_are_kept(rig: RigOf) -> None:
    r = rig(model_keep_versions=2)
    r.put("m", noise(60))
    for day in (20, 21, 22):
        train(r.spec, r.window(f"2024-02-{day}", f"2024-02-{day + 1}"), r.store, r.models)
    kept = sorted(path.name.split("-")[0] for path in (r.folder / "models" / "b").iterdir())
    assert kept == ["20240221T000000Z", "20240222T000000Z"]


def test_a_backfill_keeps_the_model_that_it_is_about_to_use(rig: RigOf) -> None:
    r = rig(model_keep_versions=1)
    r.put("m", noise(60))
    train(r.spec, r.window("2024-02-22", "2024-02-23"), r.store, r.models)
    train(r.spec, r.window("2024-02-20", "2024-02-21"), r.store, r.models)
    kept = sorted(path.name.split("-")[0] for path in (r.folder / "models" / "b").iterdir())
    assert kept == ["20240220T000000Z", "20240222T000000Z"]


# -- score


def test_only_closed_buckets_are_scored_and_a_late_one_is_scored_later(rig: RigOf) -> None:
    r = rig(schedule="@hourly", completeness_delay="2h")
    r.put("m", noise(60))  # days, to 29 February
    score(r.spec, r.window("2024-02-29T12:00", "2024-02-29T13:00"), r.store, r.models)
    assert r.rows("score")["metric_timestamp"].max() == pd.Timestamp("2024-02-28")
    score(r.spec, r.window("2024-03-01T00:00", "2024-03-01T01:00"), r.store, r.models)
    assert r.rows("score")["metric_timestamp"].max() == pd.Timestamp("2024-02-28")
    score(r.spec, r.window("2024-03-01T01:00", "2024-03-01T02:00"), r.store, r.models)
    assert r.rows("score")["metric_timestamp"].max() == pd.Timestamp("2024-02-29")


def test_a_score_row_says_what_it_was_made_of(rig: RigOf) -> None:
    r = rig()
    r.put("m", noise(60))
    score(r.spec, r.window("2024-02-20", "2024-02-21"), r.store, r.models)
    row = r.rows("score").iloc[-1]
    facts = json.loads(row["metadata"])
    assert row["metric_timestamp"] == pd.Timestamp("2024-02-20")
    assert facts["model"] == "2024-02-20T00:00:00+00:00"
    assert facts["grain"] == "1d"
    assert facts["lower"] < facts["expected"] < facts["upper"]
    assert 0 <= row["metric_value"] <= 1


def test_a_refused_bundle_is_trained_again_and_gives_the_same_scores(rig: RigOf) -> None:
    r = rig()
    r.put("m", noise(60))
    window = r.window("2024-02-20", "2024-02-21")
    train(r.spec, window, r.store, r.models)
    score(r.spec, window, r.store, r.models)
    before = r.rows("score")
    for path in (r.folder / "models").rglob("*.bin"):
        path.write_bytes(b"tampered")
    score(r.spec, window, r.store, r.models)
    pd.testing.assert_frame_equal(r.rows("score"), before)


def test_a_metric_without_enough_points_is_learning_and_its_neighbours_are_scored(rig: RigOf) -> None:
    r = rig()
    r.put("good", noise(60))
    r.put("young", noise(5), start="2024-02-16")
    r.put("none yet", noise(1), start="2024-02-20")
    result = score(r.spec, r.window("2024-02-20", "2024-02-21"), r.store, r.models)
    assert result.outcomes == {"good": "scored (seasonal)", "young": "learning 4/14", "none yet": "learning 0/14"}


@pytest.mark.parametrize(("points", "said"), [(30, " (median)"), (60, " (seasonal)"), (200, "")])
def test_the_outcome_says_how_much_a_metric_had_to_learn_from(rig: RigOf, points: int, said: str) -> None:
    r = rig()
    last = at("2024-02-20")
    r.put("m", noise(points + 1), start=f"{last - timedelta(days=points):%Y-%m-%d}")
    window = r.window("2024-02-20", "2024-02-21")
    assert train(r.spec, window, r.store, r.models).outcomes == {"m": f"trained{said}"}
    result = score(r.spec, window, r.store, r.models)
    assert result.outcomes == {"m": f"scored{said}"}
    assert result.summary()["not_evaluated"] == {}


def test_a_huge_value_stops_nothing(rig: RigOf) -> None:
    r = rig()
    r.put("good", noise(60))
    r.put("huge", noise(60) * 1e304)
    result = score(r.spec, r.window("2024-02-20", "2024-02-21"), r.store, r.models)
    assert result.failed == {}
    assert set(r.rows("score")["metric_name"]) == {"good", "huge"}


def test_a_metric_that_stopped_is_said_to_have_no_data(rig: RigOf) -> None:
    r = rig()
    r.put("stopped", noise(48))  # to 17 February
    score(r.spec, r.window("2024-02-17", "2024-02-18"), r.store, r.models)
    assert score(r.spec, r.window("2024-02-18", "2024-02-19"), r.store, r.models).outcomes == {"stopped": "no data"}


def test_a_bucket_that_is_still_open_is_no_missing_one(rig: RigOf) -> None:
    r = rig(schedule="@hourly")
    r.put("m", noise(48))  # to 17 February
    score(r.spec, r.window("2024-02-17T23:00", "2024-02-18"), r.store, r.models)
    later = score(r.spec, r.window("2024-02-18T05:00", "2024-02-18T06:00"), r.store, r.models)
    assert later.outcomes == {"m": "up to date"}


def test_a_metric_that_is_not_trained_is_said_to_be_left_out(rig: RigOf) -> None:
    r = rig(train_exclude_metrics=["m"])
    r.put("m", noise(60))
    result = score(r.spec, r.window("2024-02-20", "2024-02-21"), r.store, r.models)
    assert result.outcomes == {"m": "excluded from training"}
    assert result.summary()["not_evaluated"] == {"m": "excluded from training"}


def test_a_failure_on_one_bucket_is_not_hidden_by_the_next(rig: RigOf, monkeypatch: pytest.MonkeyPatch) -> None:
    from anomstack_provider.detection import pipeline

    r = rig(recipe="anomstack")
    r.put("m", noise(60))
    real, calls = pipeline.score, iter(range(100))

    def fails_first(*args: Any) -> Any:
        if next(calls) == 0:
            raise OSError("injected")
        return real(*args)

    monkeypatch.setattr(pipeline, "score", fails_first)
    result = score(r.spec, r.window("2024-02-20", "2024-02-23"), r.store, r.models)
    assert result.failed == {"m": "OSError: injected"}
    assert len(r.rows("score"))


def test_a_failing_metric_leaves_the_others_scores(rig: RigOf) -> None:
    r = rig(recipe="anomstack")
    r.put("good", noise(60))
    r.put("huge", noise(60) * 1e304)
    result = score(r.spec, r.window("2024-02-20", "2024-02-21"), r.store, r.models)
    assert result.outcomes["good"] == "scored"
    assert "huge" in result.failed
    assert set(r.rows("score")["metric_name"]) == {"good"}


# -- alert

LOUD = {
    "model_configs": [{"model_name": "KNN", "model_tag": "knn", "model_params": {"contamination": 0.01}}],
    "preprocess_params": {"diff_n": 0, "smooth_n": 0, "lags_n": 0},
    "alert_smooth_n": 0,
}


def spiked(n: int, *places: int) -> np.ndarray:
    values = noise(n)
    values[list(places)] += 100
    return values


def run(r: Rig, start: str, end: str) -> Any:
    window = r.window(start, end)
    train(r.spec, window, r.store, r.models)
    score(r.spec, window, r.store, r.models)
    return alert(r.spec, window, r.store, r.models)


def test_a_spike_is_one_alert_with_all_that_a_message_needs(rig: RigOf) -> None:
    r = rig(**LOUD, metric_tags={"m": {"team": "growth"}})
    r.put("m", spiked(60, 50))  # 20 February
    assert run(r, "2024-02-19", "2024-02-20").alerts == ()
    (found,) = run(r, "2024-02-20", "2024-02-21").alerts
    # The next runs find it once more, the very same: the ledger knows that it was sent.
    later = [run(r, f"2024-02-{day}", f"2024-02-{day + 1}").alerts for day in (21, 24, 25, 28)]
    (closed,) = later[1]
    assert later == [(found,), (closed,), (closed,), ()]
    assert (closed.transition, closed.bucket, closed.event_id) == ("closed", at("2024-02-24"), found.event_id)
    assert (closed.first_bucket, closed.last_bucket, closed.fired) == (found.bucket, found.bucket, 1)
    assert (closed.peak_value, closed.peak_expected) == (found.value, found.expected)
    assert closed.severity == "high"
    assert (found.metric_name, found.bucket, found.direction, found.severity) == ("m", at("2024-02-20"), "up", "high")
    assert found.value == pytest.approx(r.rows("metric")["metric_value"][50])
    assert found.tags == (("team", "growth"),)
    stored = r.rows("alert")
    assert stored["metric_timestamp"].tolist() == [pd.Timestamp("2024-02-20"), pd.Timestamp("2024-02-24")]
    assert stored["metric_value"].tolist() == [1.0, 0.0]
    assert [stored_alerts(text) for text in stored["metadata"]] == [[found], [closed]]


def test_an_alert_has_all_kinds_that_its_event_found_so_far(rig: RigOf) -> None:
    limits = {"disable_change": True, "disable_tholdalert": False, "tholdalert_thresholds": {"m": {"upper": 250}}}
    r = rig(**LOUD, **limits)
    values = spiked(60, 50)
    values[51] = values[50] + 60  # a little worse, and beyond the threshold
    r.put("m", values)
    (opened, escalated) = run(r, "2024-02-20", "2024-02-22").alerts
    assert (opened.transition, opened.kinds) == ("opened", ())
    assert (escalated.transition, escalated.kind, escalated.kinds) == ("escalated", "anomaly", ("anomaly", "threshold"))
    assert [alert.kinds for alert in stored_alerts(r.rows("alert")["metadata"].iloc[1])] == [escalated.kinds]
    (*_, closed) = run(r, "2024-02-22", "2024-02-26").alerts
    assert (closed.transition, closed.kinds) == ("closed", ("anomaly", "threshold"))


def test_the_same_run_again_gives_the_same_alert_and_row(rig: RigOf) -> None:
    r = rig(**LOUD)
    r.put("m", spiked(60, 50))
    first = run(r, "2024-02-20", "2024-02-21").alerts
    before = r.rows("alert")
    assert run(r, "2024-02-20", "2024-02-21").alerts == first
    pd.testing.assert_frame_equal(r.rows("alert"), before)


def test_an_alert_that_no_longer_holds_is_relabelled_until_it_holds_again(rig: RigOf) -> None:
    r = rig(**LOUD)
    r.put("m", spiked(60, 50))
    run(r, "2024-02-20", "2024-02-21")
    told = r.rows("alert")
    r.put("m", noise(60))  # the value was wrong and has been corrected
    for _ in range(2):
        assert run(r, "2024-02-20", "2024-02-21").alerts == ()
        assert r.rows("alert").empty
        withdrawn = told.assign(metric_type="alert_withdrawn")
        pd.testing.assert_frame_equal(r.rows("alert_withdrawn"), withdrawn, check_dtype=False)
    r.put("m", spiked(60, 50))
    run(r, "2024-02-20", "2024-02-21")
    pd.testing.assert_frame_equal(r.rows("alert"), told)
    assert r.rows("alert_withdrawn").empty


def test_a_spike_within_the_snooze_of_another_is_silent(rig: RigOf) -> None:
    r = rig(**LOUD, alert_snooze_n=3)
    r.put("m", spiked(60, 50, 52))
    found = {a for day in (20, 21, 22) for a in run(r, f"2024-02-{day}", f"2024-02-{day + 1}").alerts}
    assert {a.bucket for a in found} == {at("2024-02-20")}


def test_what_a_run_missed_is_announced_by_the_next(rig: RigOf) -> None:
    r = rig(**LOUD)
    values = noise(60)
    values[50:53] += [100, 200, 400]
    r.put("m", values)
    run(r, "2024-02-19", "2024-02-20")
    # There is no run for the 20th, when it began.
    found = run(r, "2024-02-21", "2024-02-22").alerts
    assert [(a.transition, a.bucket) for a in found] == [
        ("opened", at("2024-02-20")),
        ("escalated", at("2024-02-21")),
    ]
    assert len({a.event_id for a in found}) == 1


def test_scores_of_another_tool_are_not_judged_and_scored_anew(rig: RigOf) -> None:
    r = rig(**LOUD)
    r.put("m", spiked(60, 50))
    foreign = r.rows("metric").assign(metric_type="score", metric_value=0.0, metadata=None)
    r.store.replace(foreign)
    assert len(run(r, "2024-02-20", "2024-02-21").alerts) == 1
    scores = r.rows("score").set_index("metric_timestamp")["metadata"]
    assert scores[pd.Timestamp("2024-02-20")] is not None


def test_a_metric_whose_scores_cannot_be_judged_fails_alone(rig: RigOf) -> None:
    r = rig(**LOUD)
    r.put("good", spiked(60, 50))
    r.put("odd", spiked(60, 50))
    window = r.window("2024-02-20", "2024-02-21")
    score(r.spec, window, r.store, r.models)
    scores = r.rows("score")
    r.store.replace(scores[scores["metric_name"] == "odd"].assign(metadata='{"grain": "1d"}'))
    answer = alert(r.spec, window, r.store, r.models)
    assert [a.metric_name for a in answer.alerts] == ["good"]
    assert answer.result.failed == {"odd": "KeyError: 'value'"}


def test_an_excluded_metric_is_scored_and_not_alerted_on(rig: RigOf) -> None:
    r = rig(**LOUD, alert_exclude_metrics=["m"], disable_change=True)
    r.put("m", spiked(60, 50))
    assert run(r, "2024-02-20", "2024-02-21").alerts == ()
    assert len(r.rows("score"))


def test_every_bucket_that_closed_in_the_window_is_looked_at(rig: RigOf) -> None:
    r = rig(**LOUD, schedule="@daily", grain="1h")
    values = spiked(24 * 30, 24 * 29 + 5)
    r.put("m", values, freq="1h")
    opened, closed = run(r, "2024-01-30", "2024-01-31").alerts
    assert opened.bucket == at("2024-01-30T05:00")
    assert closed.bucket == at("2024-01-30T09:00")


class Counting:
    """A store that counts its calls, each of which is a constant number of statements."""

    def __init__(self, store: Any) -> None:
        self.store, self.calls = store, 0

    def __getattr__(self, name: str) -> Any:
        self.calls += 1
        return getattr(self.store, name)


def test_a_steps_queries_do_not_grow_with_its_metrics(rig: RigOf) -> None:
    counts = []
    for metrics in (1, 12):
        r = rig(**LOUD, table_key=f"metrics_{metrics}")
        for number in range(metrics):
            r.put(f"m{number}", noise(60, number))
        counted: Any = Counting(r.store)
        r.store = counted
        run(r, "2024-02-20", "2024-02-21")
        counts.append(counted.calls)
    assert 0 < counts[0] == counts[1]


def test_a_window_is_half_open_and_aware() -> None:
    with pytest.raises(ValueError, match="not before its end"):
        RunWindow(at("2024-01-02"), at("2024-01-02"))
    with pytest.raises(ValueError, match="has no time zone"):
        RunWindow(at("2024-01-01").replace(tzinfo=None), at("2024-01-02"))
    assert RunWindow(at("2024-01-01"), at("2024-01-01") + timedelta(hours=1)).as_of == at("2024-01-01T01:00")
