"""What a verdict does to a batch: which points train, what replays say, what is stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anomstack_provider.alerting.alert import Alert, event_id
from anomstack_provider.detection.feedback import ROW_TYPES, WORD_OF
from anomstack_provider.steps import feedback
from anomstack_provider.steps.feedback import FeedbackRefused, NothingThere
from anomstack_provider.steps.overlay import NoModels
from anomstack_provider.steps.preview import preview
from anomstack_provider.steps.score import score
from anomstack_provider.steps.train import train
from anomstack_provider.steps.training import read_history, training_limits, training_points
from tests.steps.conftest import Rig, at, noise

RigOf = Callable[..., Rig]

PLAIN = {
    "model_configs": [{"model_name": "KNN", "model_tag": "knn", "model_params": {"contamination": 0.01}}],
    "preprocess_params": {"diff_n": 0, "smooth_n": 0, "lags_n": 0},
    "alert_smooth_n": 0,
}
NOW = at("2024-03-15T10:30")


def say(r: Rig, bucket: str, word: str, given: str | datetime = NOW, name: str = "m", **more: Any) -> Any:
    moment = at(given) if isinstance(given, str) else given
    if word == "snooze":
        more.setdefault("until", moment + timedelta(days=3))
    return feedback.give(r.spec, r.store, name, at(bucket), word, given_at=moment, **more)


def training_days(r: Rig, moment: str) -> list[str]:
    """The days that a model as of a moment is trained on."""
    from anomstack_provider.detection.calendar import Calendar

    limits = training_limits(r.spec, at(moment), at(moment))
    (history,) = read_history(r.spec, r.store, 0, 1, (), **limits).values()
    points, _ = training_points(r.spec, history.points, at(moment), Calendar(()), history.verdicts)
    return [str(time)[:10] for time in points.times]


def stored(r: Rig) -> list[tuple[str, str, str]]:
    frame = r.store.read(list(WORD_OF), since=None, until=at("2100-01-01"))
    times = frame["metric_timestamp"].dt.strftime("%m-%d")
    return list(zip(frame["metric_name"], frame["metric_type"], times, strict=True))


def put_event(r: Rig, first: str, last: str, name: str = "m") -> str:
    """Store the alerts of an event as the alert step does; return its id."""
    identity = event_id("b", name, "anomaly", "up", at(first))
    said: dict[str, Any] = {"event_id": identity, "metric_batch": "b", "metric_name": name, "kind": "anomaly"}
    said |= {"direction": "up", "grain": "1d", "value": 1.0, "expected": 1.0, "lower": 0.0, "upper": 2.0}
    said |= {"score": 1.0, "threshold": 0.9, "severity": "high", "first_bucket": at(first), "last_bucket": at(last)}
    alerts = [
        Alert(transition=transition, bucket=at(bucket), **said)
        for transition, bucket in (("opened", first), ("closed", "2024-03-10"))
    ]
    rows = {
        "metric_name": name,
        "metric_type": "alert",
        "metric_timestamp": pd.DatetimeIndex([a.bucket for a in alerts]),
        "metric_value": 1.0,
        "metadata": [a.to_json() for a in alerts],
    }
    r.store.replace(pd.DataFrame(rows))
    return identity


# --- giving ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", list(ROW_TYPES))
def test_a_verdict_is_a_row(rig: RigOf, word: str) -> None:
    r = rig(**PLAIN)
    r.put("m", noise(60))
    say(r, "2024-02-20", word, by="ann", note="it's 'ß' 🎉")
    frame = r.store.read(list(WORD_OF), since=None, until=at("2100-01-01"))
    (row,) = frame.to_dict("records")
    assert (row["metric_type"], row["metric_value"]) == (ROW_TYPES[word], 1.0)
    facts = json.loads(row["metadata"])
    assert (facts["verdict"], facts["given_at"]) == (word, "2024-03-15T10:30:00+00:00")
    assert (facts["by"], facts["note"]) == ("ann", "it's 'ß' 🎉")
    assert facts["until"] == ("2024-03-18T10:30:00+00:00" if word == "snooze" else None)


def test_a_later_verdict_takes_the_place_of_the_earlier_ones(rig: RigOf) -> None:
    r = rig(**PLAIN)
    r.put("m", noise(60))
    for day, word in enumerate(ROW_TYPES):
        say(r, "2024-02-20", word, f"2024-03-1{day}")
    assert stored(r) == [("m", "snooze", "02-20")]
    (verdicts,) = feedback.read(r.store).values()
    assert [v.word for v in verdicts] == list(ROW_TYPES)
    assert [v.replaced_at for v in verdicts] == [*(at(f"2024-03-1{day}") for day in (1, 2, 3, 4)), None]


def test_rows_that_anomstack_wrote_are_read_and_replaced(rig: RigOf) -> None:
    r = rig(**PLAIN)
    r.put("m", noise(60))
    keys = {"metric_name": "m", "metric_timestamp": np.datetime64("2024-02-20", "us"), "metric_value": 1.0}
    r.store.replace(pd.DataFrame([{**keys, "metric_type": "thumbsup", "metadata": ""}]))
    assert "2024-02-20" not in training_days(r, "2024-02-25")
    say(r, "2024-02-20", "false_alarm")
    assert stored(r) == [("m", "thumbsdown", "02-20")]
    assert "2024-02-20" not in training_days(r, "2024-03-15")
    assert "2024-02-20" in training_days(r, "2024-03-16")


def test_a_verdict_on_an_event_is_one_on_each_of_its_buckets(rig: RigOf) -> None:
    r = rig(**PLAIN)
    r.put("m", noise(70))
    identity = put_event(r, "2024-02-20", "2024-02-23")
    say(r, "2024-02-21", "real", event_id=identity)
    assert stored(r) == [("m", "thumbsup", f"02-2{day}") for day in range(4)]
    assert training_days(r, "2024-03-16")[-6:] == [f"2024-03-{day:02d}" for day in range(5, 11)]
    assert not {f"2024-02-2{day}" for day in range(4)} & set(training_days(r, "2024-03-16"))
    say(r, "2024-02-21", "new_normal", NOW + timedelta(hours=1), event_id=identity)
    assert stored(r) == [("m", "new_normal", f"02-2{day}") for day in range(4)]
    assert training_days(r, "2024-03-16")[0] == "2024-02-20"
    ((_, verdict),) = feedback.standing(feedback.read(r.store))
    assert (verdict.word, verdict.bucket) == ("new_normal", at("2024-02-20"))


def test_what_is_not_there_is_refused_with_what_is_near(rig: RigOf) -> None:
    r = rig(**PLAIN, timezone="Europe/Berlin")
    r.put("orders", noise(60))
    identity = put_event(r, "2024-02-20", "2024-02-23", "orders")
    with pytest.raises(NothingThere, match=r"no bucket 2024-02-20T13:00:00\+01:00; the nearest ones are ") as caught:
        say(r, "2024-02-20T12:00", "real", name="orders")
    for near in ("19T01", "20T01", "21T01", "22T01"):
        assert f"2024-02-{near}:00:00+01:00" in str(caught.value)
    with pytest.raises(NothingThere, match="nor any in the month after"):
        say(r, "2020-02-20", "real", name="orders")
    with pytest.raises(NothingThere, match="near it: 'orders'"):
        say(r, "2024-02-20", "real", name="order")
    with pytest.raises(NothingThere, match="has no event 'x'"):
        say(r, "2024-02-20", "real", name="orders", event_id="x")
    with pytest.raises(NothingThere, match=r"is not in event .* from 2024-02-20"):
        say(r, "2024-02-25", "real", name="orders", event_id=identity)
    assert stored(r) == []


def test_after_the_newest_bucket_the_nearest_are_the_last(rig: RigOf) -> None:
    r = rig(**PLAIN)
    r.put("m", noise(60))
    with pytest.raises(NothingThere, match=r"nearest ones are 2024-02-28T00:00:00\+00:00, 2024-02-29T00:00:00\+00:00$"):
        say(r, "2024-06-01", "real")


HOSTILE = ["'; DROP TABLE metrics; --", "\0", "\ud800", "../..", "%s", "$metric_batch", "🎉" * 500, ""]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_no_metric(rig: RigOf, name: str) -> None:
    r = rig(**PLAIN)
    r.put("m", noise(60))
    with pytest.raises(NothingThere, match="no metric"):
        say(r, "2024-02-20", "real", name=name)
    assert len(r.rows("metric")) == 60


def test_a_metric_of_an_odd_name_is_judged_like_any_other(rig: RigOf) -> None:
    r = rig(**PLAIN)
    name = "o'r/d\"e;rs 🎉 %s $x"
    r.put(name, noise(60))
    say(r, "2024-02-20", "real", name=name, note="\0 \ud800 '", by="\ud800")
    assert stored(r) == [(name, "thumbsup", "02-20")]


@pytest.mark.parametrize(
    ("word", "more", "message"),
    [
        ("nice", {}, "'nice' is no verdict; there are real, false_alarm"),
        ("snooze", {"until": None}, "needs an end"),
        ("snooze", {"until": NOW}, "which is over"),
        ("real", {"until": NOW + timedelta(days=1)}, "only a snooze has an end"),
        ("real", {"note": "x" * 2001}, "2001 characters"),
    ],
)
def test_what_makes_no_sense_is_refused(rig: RigOf, word: str, more: dict[str, Any], message: str) -> None:
    r = rig(**PLAIN)
    r.put("m", noise(60))
    with pytest.raises(FeedbackRefused, match=message):
        say(r, "2024-02-20", word, **more)


def test_a_bucket_of_a_resampled_batch_is_one_of_its_own(rig: RigOf) -> None:
    r = rig(**{**PLAIN, "preprocess_params": {"freq": "1D", "diff_n": 0, "smooth_n": 0, "lags_n": 0}})
    r.put("m", noise(24 * 60), freq="1h")
    say(r, "2024-02-20", "real")
    assert "2024-02-20" not in training_days(r, "2024-03-16")
    with pytest.raises(NothingThere, match="nearest ones are"):
        say(r, "2024-02-20T07:00", "real")


# --- training --------------------------------------------------------------------------------------------------------


def test_models_know_what_was_said_by_their_tick(rig: RigOf) -> None:
    r = rig(**PLAIN)
    r.put("m", noise(60))
    say(r, "2024-02-20", "real", "2024-02-22T12:00")
    assert "2024-02-20" in training_days(r, "2024-02-22")
    assert "2024-02-20" not in training_days(r, "2024-02-23")


@pytest.mark.parametrize("recipe", [PLAIN, {}], ids=["anomstack", "seasonal"])
def test_after_a_new_normal_a_metric_learns_again(rig: RigOf, recipe: dict[str, Any]) -> None:
    r = rig(**recipe)
    r.put("m", np.r_[noise(50), 3 * noise(30)])  # three times as much from 20 February on
    say(r, "2024-02-20", "new_normal", "2024-02-25T12:00")
    outcomes = [
        train(r.spec, r.window(f"2024-02-{day}", f"2024-02-{day + 1}"), r.store, r.models).outcomes["m"]
        for day in (24, 25, 26)
    ]
    assert [outcome.split(" (")[0] for outcome in outcomes] == ["trained", "trained", "learning 6/14 since new normal"]
    scored = score(r.spec, r.window("2024-02-27", "2024-02-28"), r.store, r.models)
    assert scored.outcomes["m"] == "learning 7/14 since new normal"
    assert scored.counts() == {"learning": 1}
    # From 14 days of the new normal on it is what is expected, and the old one is an anomaly.
    r.put("m", noise(2), start="2024-03-19")
    scored = score(r.spec, r.window("2024-03-18", "2024-03-20"), r.store, r.models)
    assert scored.outcomes["m"].startswith("scored")
    found = r.rows("score").set_index("metric_timestamp")
    usual, odd = (found["metric_value"][f"2024-03-{day}"] for day in (18, 19))
    assert usual < 0.9 < odd


def kept_scores(r: Rig, end: str) -> dict[str, float]:
    frame = r.rows("score")
    return dict(zip(frame["metric_timestamp"].astype(str), frame["metric_value"], strict=True))


def test_preview_and_runs_in_any_order_see_the_same_feedback(rig: RigOf) -> None:
    """Days scored live with verdicts coming in between; backwards without models; and by a preview."""
    values = noise(75)
    values[[50, 55]] += 40
    days = [f"2024-02-{day:02d}" for day in range(20, 30)] + [f"2024-03-{day:02d}" for day in range(1, 10)]
    windows = list(pairwise(days))

    live = rig(**PLAIN, table_key="live", score_metric_rounding=-1, score_max_n=1)
    live.put("m", values)
    for start, end in windows:
        if start == "2024-02-23":
            say(live, "2024-02-20", "real", "2024-02-23T06:00")
        if start == "2024-02-27":
            say(live, "2024-02-20", "false_alarm", "2024-02-27T06:00")
            say(live, "2024-02-25", "expected", "2024-02-27T07:00")
        if start == "2024-03-03":
            say(live, "2024-02-10", "new_normal", "2024-03-03T06:00")
        train(live.spec, live.window(start, end), live.store, live.models)
        score(live.spec, live.window(start, end), live.store, live.models)
    wanted = kept_scores(live, days[-1])

    shuffled = rig(**PLAIN, table_key="live", score_metric_rounding=-1, score_max_n=1)
    shuffled.store.replace(pd.DataFrame(columns=shuffled.rows("score").columns), clear=shuffled.rows("score"))
    for start, end in windows[::-1]:
        score(shuffled.spec, shuffled.window(start, end), shuffled.store, NoModels())
    assert kept_scores(shuffled, days[-1]) == wanted

    seen = preview(live.spec, live.window(days[0], days[-1]), live.store).scores.dropna()
    assert {str(t)[:10]: s for t, s in zip(seen["metric_timestamp"], seen["score"], strict=True)} == {
        key: value for key, value in wanted.items() if key >= days[0]
    }

    without = rig(**PLAIN, table_key="without", score_metric_rounding=-1, score_max_n=1)
    without.put("m", values)
    for start, end in windows:
        score(without.spec, without.window(start, end), without.store, NoModels())
    plain = kept_scores(without, days[-1])
    changed = [day for day in wanted if wanted[day] != plain[day]]
    assert changed
    assert min(changed) >= "2024-02-24"  # the first tick after something was said


class Counting:
    """A store that counts its calls."""

    def __init__(self, store: Any) -> None:
        self.store, self.calls = store, 0

    def __getattr__(self, name: str) -> Any:
        self.calls += 1
        return getattr(self.store, name)


def test_feedback_costs_a_step_no_query(rig: RigOf) -> None:
    counts = []
    for said in (False, True):
        r = rig(**PLAIN, table_key=f"t{said}")
        r.put("m", noise(60))
        if said:
            say(r, "2024-02-10", "real", "2024-02-11")
        counted: Any = Counting(r.store)
        train(r.spec, r.window("2024-02-20", "2024-02-21"), counted, r.models)
        score(r.spec, r.window("2024-02-20", "2024-02-21"), counted, NoModels())
        counts.append(counted.calls)
    assert counts[0] == counts[1]


# --- when a bucket is decided ----------------------------------------------------------------------------------------


def test_a_bucket_is_decided_by_the_run_in_whose_window_it_closes(rig: RigOf) -> None:
    r = rig(**PLAIN, schedule="0 6 * * *", completeness_delay="2h", timezone="Europe/Berlin")
    ends = np.array(["2024-03-30T00:00", "2024-03-30T03:00", "2024-03-30T03:01", "2024-03-31T04:00"], "datetime64[us]")
    found = feedback.decided_at(r.spec, ends).astype("datetime64[m]").astype(str).tolist()
    # 06:00 of Berlin is 05:00 of UTC, and 04:00 from 31 March on.
    assert found == ["2024-03-30T05:00", "2024-03-30T05:00", "2024-03-31T04:00", "2024-04-01T04:00"]
    assert len(feedback.decided_at(r.spec, ends[:0])) == 0


# --- what it says of the alerts --------------------------------------------------------------------------------------


def test_precision_is_per_metric_and_counts_an_event_once(rig: RigOf) -> None:
    r = rig(**PLAIN)
    r.put("m", noise(70))
    r.put("n", noise(70))
    identity = put_event(r, "2024-02-20", "2024-02-23")
    say(r, "2024-02-20", "real", event_id=identity)
    for day in (1, 2, 3):
        say(r, f"2024-03-0{day}", "false_alarm")
    say(r, "2024-03-03", "expected", NOW + timedelta(minutes=1))
    say(r, "2024-03-04", "real", name="n")
    say(r, "2024-03-05", "snooze", name="n")
    verdicts = feedback.read(r.store)
    found = feedback.precision(verdicts, NOW + timedelta(days=1))
    assert {name: (p.real, p.false_alarms) for name, p in found.items()} == {"m": (1, 2), "n": (1, 0)}
    assert found["m"].share == pytest.approx(1 / 3)
    assert feedback.precision(verdicts, NOW + timedelta(days=91)) == {}
    assert feedback.precision(verdicts, NOW - timedelta(days=1)) == {}
