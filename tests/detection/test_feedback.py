"""What a verdict does to training points and to findings, and from when on."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomstack_provider.detection import feedback
from anomstack_provider.detection.feedback import ROW_TYPES, Verdict, Verdicts

DAYS = np.arange("2024-01-01", "2024-01-11", np.timedelta64(1, "D"), dtype="datetime64[us]")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def day(number: int) -> datetime:
    return at(f"2024-01-{number:02d}")


def said(word: str, bucket: int, given: str | None = "2024-01-20", **more: Any) -> Verdict:
    return Verdict(word, day(bucket), None if given is None else at(given), **more)


def training_days(*verdicts: Verdict, moment: str = "2024-02-01") -> list[int]:
    kept = feedback.trains(feedback.in_order(verdicts), DAYS, at(moment))
    return [int(number) for number in np.flatnonzero(kept) + 1]


ALL = list(range(1, 11))


def without(*days: int) -> list[int]:
    return [day for day in ALL if day not in days]


@pytest.mark.parametrize(
    ("word", "left"),
    [
        ("real", without(5)),
        ("expected", without(5)),
        ("false_alarm", ALL),
        ("snooze", ALL),
        ("new_normal", [5, 6, 7, 8, 9, 10]),
    ],
)
def test_what_trains_after_a_verdict(word: str, left: list[int]) -> None:
    assert training_days(said(word, 5)) == left


def test_a_verdict_counts_from_the_moment_it_was_given() -> None:
    verdict = said("real", 5, "2024-01-20T12:00")
    assert training_days(verdict, moment="2024-01-20T11:59") == ALL
    assert training_days(verdict, moment="2024-01-20T12:00") == without(5)


def test_one_of_an_unknown_time_always_counts() -> None:
    assert training_days(said("real", 5, None), moment="2024-01-06") == without(5)


def test_a_false_alarm_returns_a_point_to_training() -> None:
    assert training_days(said("false_alarm", 5, "2024-01-22"), said("real", 5, "2024-01-20")) == ALL
    assert training_days(said("real", 5, "2024-01-22"), said("false_alarm", 5, "2024-01-20")) == without(5)


def test_of_two_new_normals_the_later_bucket_counts() -> None:
    assert training_days(said("new_normal", 3, "2024-01-22"), said("new_normal", 7)) == [7, 8, 9, 10]


def test_a_new_normal_of_an_event_begins_with_the_event() -> None:
    rows = [said("new_normal", n, event_id="e", first_bucket=day(4)) for n in (4, 5, 6)]
    assert training_days(*rows) == [4, 5, 6, 7, 8, 9, 10]


def test_a_new_normal_after_the_moment_says_nothing_of_it() -> None:
    assert training_days(said("new_normal", 9, None), moment="2024-01-06") == ALL


def test_real_anomalies_after_a_new_normal_stay_out() -> None:
    assert training_days(said("real", 8), said("new_normal", 6, "2024-01-25")) == [6, 7, 9, 10]


# --- rows ------------------------------------------------------------------------------------------------------------


def read(metric_type: str, metadata: object, bucket: int = 5) -> list[Verdict]:
    return list(feedback.of_row(metric_type, np.datetime64(f"2024-01-{bucket:02d}", "ns"), metadata))


def test_a_row_says_what_was_written() -> None:
    verdict = said("snooze", 5, until=at("2024-01-23"), by="ann", note="ß 🎉 \x00", event_id="e", first_bucket=day(4))
    assert read("snooze", feedback.to_metadata(verdict)) == [verdict]


def test_a_row_remembers_what_it_replaced() -> None:
    first, second, third = said("real", 5, None), said("expected", 5), said("false_alarm", 5, "2024-01-22")
    rows = read("thumbsdown", feedback.to_metadata(third, [second, first]))
    assert [v.word for v in rows] == ["false_alarm", "expected", "real"]
    days = [training_days(*rows, moment=moment) for moment in ("2024-01-19", "2024-01-21", "2024-01-23")]
    assert days == [without(5), without(5), ALL]
    assert [v.replaced_at for v in rows] == [None, third.given_at, second.given_at]


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        "",
        "liked",
        "[]",
        "{",
        "3",
        float("nan"),
        '{"given_at": "soon", "by": 3, "until": []}',
        '{"given_at": "2024-01-20T00:00:00", "replaced": 3}',
        '{"replaced": [3, {"verdict": "odd"}, {}]}',
        '{"replaced": [{"verdict": "real"}]}',
    ],
)
def test_metadata_of_another_form_leave_the_verdict(metadata: object) -> None:
    assert read("thumbsup", metadata) == [said("real", 5, None)]


def test_of_thumbs_up_and_down_without_a_time_up_counts() -> None:
    rows = [*read("thumbsup", ""), *read("thumbsdown", None)]
    assert training_days(*rows) == training_days(*rows[::-1]) == without(5)


def test_metadata_are_plain_json() -> None:
    assert json.loads(feedback.to_metadata(said("real", 5, by="ann"))) == {
        "verdict": "real",
        "given_at": "2024-01-20T00:00:00+00:00",
        "until": None,
        "first_bucket": None,
        "by": "ann",
        "note": "",
        "event_id": None,
        "replaced": [],
    }


# --- findings --------------------------------------------------------------------------------------------------------

ENDS = DAYS + np.timedelta64(1, "D")


def stopped_days(verdicts: list[Verdict], events: list[int] | None = None) -> list[int]:
    """Of findings on each of ten days, decided as each ends: those of two events, four and six days long."""
    labels = np.array(events or [0] * 4 + [1] * 6)
    mask, reasons = feedback.stopped(feedback.in_order(verdicts), DAYS, ENDS, labels)
    assert [bool(text) for text in reasons] == mask.tolist()
    return [int(number) for number in np.flatnonzero(mask) + 1]


@pytest.mark.parametrize("word", ["false_alarm", "expected", "new_normal"])
def test_an_event_stops_when_the_word_is_given(word: str) -> None:
    # Days 5 to 7 were decided before noon of the 8th; day 7 ends with it, day 8 after it.
    assert stopped_days([said(word, 5, "2024-01-08T12:00")]) == [8, 9, 10]
    assert stopped_days([said(word, 7, "2024-01-08T12:00")]) == [8, 9, 10]
    assert stopped_days([said(word, 5, "2024-01-30")]) == []


def test_a_word_on_one_event_says_nothing_of_the_next() -> None:
    assert stopped_days([said("false_alarm", 2, "2024-01-03T12:00")]) == [3, 4]
    assert stopped_days([said("false_alarm", 4, "2024-01-06")]) == []


def test_real_stops_nothing() -> None:
    assert stopped_days([said("real", 5, "2024-01-06")]) == []


def test_a_word_given_before_the_bucket_is_decided_stops_it_too() -> None:
    assert stopped_days([said("expected", 5, "2024-01-05T12:00")]) == [5, 6, 7, 8, 9, 10]


def test_thumbs_down_without_a_time_leave_their_own_bucket() -> None:
    assert stopped_days([said("false_alarm", 5, None)]) == [6, 7, 8, 9, 10]


def test_a_replaced_word_stops_until_it_was_replaced() -> None:
    assert stopped_days([said("false_alarm", 5, "2024-01-06T12:00", replaced_at=at("2024-01-09"))]) == [6, 7]


def test_a_quiet_bucket_within_an_event_is_of_the_event() -> None:
    fired = DAYS[[0, 1, 4, 5, 8]]
    labels = np.array([0, 0, 0, 0, 1])
    as_of = fired + np.timedelta64(1, "D")
    for bucket, hit in ((3, [False, False, True, True, False]), (8, [False] * 5)):
        mask, _ = feedback.stopped((said("false_alarm", bucket, "2024-01-04T12:00"),), fired, as_of, labels)
        assert mask.tolist() == hit


def test_a_snooze_silences_what_is_decided_while_it_lasts() -> None:
    verdict = said("snooze", 1, "2024-01-03T12:00", until=at("2024-01-07"))
    assert stopped_days([verdict]) == [3, 4, 5]  # ends of the 4th, 5th, 6th; that of the 7th comes as it ends
    assert stopped_days([said("snooze", 1, "2024-01-03")]) == []  # one without an end was written by no one


def test_the_reason_says_who_and_when() -> None:
    verdicts: Verdicts = (said("false_alarm", 5, "2024-01-06T12:30", by="ann"), said("new_normal", 2, None))
    _, reasons = feedback.stopped(verdicts, DAYS, ENDS, np.array([0] * 4 + [1] * 6))
    assert reasons[7] == "feedback of 2024-01-06 12:30 UTC by ann: false alarm"
    assert reasons[2] == "feedback: new normal"
    snoozed = (said("snooze", 1, "2024-01-01", until=at("2024-01-30")),)
    _, reasons = feedback.stopped(snoozed, DAYS, ENDS, np.zeros(10, int))
    assert reasons[0] == "feedback of 2024-01-01 00:00 UTC: snooze until 2024-01-30 00:00 UTC"


def test_findings_that_follow_closely_are_one_event() -> None:
    over = np.arange(10) + 3  # two quiet buckets end an event
    assert feedback.chains(np.array([0, 1, 1, 3, 6, 9]), over).tolist() == [0, 0, 0, 0, 1, 2]
    assert feedback.chains(np.array([4]), over).tolist() == [0]
    assert feedback.chains(np.array([], np.intp), over).tolist() == []


def test_the_end_of_an_event_that_was_stopped_is_not_told() -> None:
    verdicts = (said("real", 5, "2024-01-05"), said("false_alarm", 6, "2024-01-08T12:00"))
    event = (day(5), day(8))
    assert feedback.silenced(verdicts, *event, at("2024-01-08T11:00")) == ""
    assert feedback.silenced(verdicts, *event, at("2024-01-09")) == "feedback of 2024-01-08 12:00 UTC: false alarm"
    assert feedback.silenced(verdicts, day(1), day(5), at("2024-01-09")) == ""
    assert feedback.silenced(verdicts, day(7), day(9), at("2024-01-09")) == ""
    unknown = (said("false_alarm", 5, None),)
    assert feedback.silenced(unknown, day(5), day(5), at("2024-01-06")) == ""  # its own alert
    assert feedback.silenced(unknown, day(5), day(6), at("2024-01-07")) == "feedback: false alarm"
    snoozed = (said("snooze", 1, "2024-01-03", until=at("2024-01-07")),)
    moments = ("2024-01-02", "2024-01-06", "2024-01-07")
    assert [bool(feedback.silenced(snoozed, *event, at(m))) for m in moments] == [False, True, False]


def test_nothing_in_nothing_out() -> None:
    none = DAYS[:0]
    mask, reasons = feedback.stopped((said("false_alarm", 5), said("snooze", 3)), none, none, np.zeros(0, int))
    assert (len(mask), len(reasons)) == (0, 0)
    assert feedback.trains((said("real", 5),), none, at("2024-02-01")).tolist() == []


words = st.builds(
    lambda word, bucket, given, length: said(
        word, bucket, f"2024-01-{given:02d}T12:00", until=day(min(given + length, 28))
    ),
    st.sampled_from(sorted(ROW_TYPES)),
    st.integers(1, 10),
    st.integers(1, 20),
    st.integers(1, 8),
)


@given(st.lists(words, max_size=6), st.lists(words, max_size=3), st.integers(1, 20))
def test_a_replay_as_of_a_moment_knows_nothing_that_was_said_later(
    early: list[Verdict], late: list[Verdict], moment: int
) -> None:
    cut = day(moment)
    known = [v for v in early if v.given_at is not None and v.given_at <= cut]
    later = [v for v in late if v.given_at is not None and v.given_at > cut]
    stamp = f"2024-01-{moment:02d}"
    assert training_days(*known, *later, moment=stamp) == training_days(*known, moment=stamp)
    decided = np.datetime64(stamp, "us") >= ENDS
    labels = np.array([0] * 4 + [1] * 6)
    with_later, _ = feedback.stopped(feedback.in_order(known + later), DAYS, ENDS, labels)
    without_later, _ = feedback.stopped(feedback.in_order(known), DAYS, ENDS, labels)
    assert with_later[decided].tolist() == without_later[decided].tolist()
