from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomstack_provider.alerting import events
from anomstack_provider.alerting.rules import fires, severity, smooth


def hours(count: int) -> np.ndarray:
    return np.datetime64("2024-03-01", "us") + np.arange(count) * np.timedelta64(1, "h")


def announce(fired: np.ndarray, snooze: int, quiet: timedelta = timedelta(0)) -> np.ndarray:
    return events.announce(fired, hours(len(fired)), events.Silence(snooze, quiet))


def quiet_start(fired: np.ndarray, first: int, snooze: int, quiet: timedelta = timedelta(0)) -> int | None:
    return events.quiet_start(fired, hours(len(fired)), first, events.Silence(snooze, quiet))


flags = st.lists(st.booleans(), max_size=40).map(lambda values: np.array(values, bool))


def test_the_score_is_smoothed_over_earlier_buckets_only() -> None:
    smoothed = smooth(np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]), 3)
    assert np.isnan(smoothed[:3]).all()
    assert smoothed[3:].tolist() == [0.25, 0.5, 0.75, 1.0]


def test_without_smoothing_a_score_is_itself() -> None:
    assert smooth(np.array([0.1, 0.9]), 0).tolist() == [0.1, 0.9]


def test_at_the_threshold_a_bucket_fires_and_without_a_full_window_it_does_not() -> None:
    assert fires(np.array([np.nan, 0.79, 0.8]), 0.8).tolist() == [False, False, True]


def test_one_spike_is_announced_once() -> None:
    fired = np.array([0, 0, 1, 1, 1, 0, 0, 0], bool)
    assert np.flatnonzero(announce(fired, 3)).tolist() == [2]


def test_a_long_anomaly_is_announced_again_after_the_snooze() -> None:
    assert np.flatnonzero(announce(np.ones(10, bool), 3)).tolist() == [0, 4, 8]


def test_without_snooze_every_bucket_is_announced() -> None:
    assert announce(np.array([1, 1, 0, 1], bool), 0).tolist() == [True, True, False, True]


@given(flags, st.integers(0, 5))
def test_no_two_announcements_are_within_the_snooze_and_each_fired(fired: np.ndarray, snooze: int) -> None:
    announced = np.flatnonzero(announce(fired, snooze))
    assert (np.diff(announced) > snooze).all()
    assert fired[announced].all()
    # Nothing that fired is silent without an announcement within the snooze before it.
    for i in np.flatnonzero(fired):
        assert announce(fired, snooze)[max(0, i - snooze) : i + 1].any()


def test_a_metric_is_quiet_for_the_time_after_an_alert() -> None:
    fired = np.ones(60, bool)
    assert np.flatnonzero(announce(fired, 3, timedelta(days=1))).tolist() == [0, 24, 48]
    assert np.flatnonzero(announce(fired, 30, timedelta(days=1))).tolist() == [0, 31]


@given(flags, st.integers(0, 5), st.integers(0, 8), st.data())
def test_from_a_quiet_gap_on_the_past_does_not_matter(
    fired: np.ndarray, snooze: int, quiet: int, data: st.DataObject
) -> None:
    first = data.draw(st.integers(0, len(fired)))
    silence = timedelta(hours=quiet)
    start = quiet_start(fired, first, snooze, silence)
    past = data.draw(flags)
    longer = np.r_[past, fired]
    if start is not None:
        assert start <= first
        whole = announce(longer, snooze, silence)[len(past) + start :]
        assert np.array_equal(whole, announce(fired[start:], snooze, silence))
    elif len(fired) > 2 * (snooze + quiet + 1):
        # It is only missing where the fires before it do not leave off.
        assert first < snooze + quiet + 1 or fired[:first].any()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (100, "low"),
        (110, "low"),
        (111, "medium"),
        (119, "medium"),
        (120, "high"),
        (95, "low"),
        (94, "medium"),
        (90, "high"),
    ],
)
def test_severity_is_the_distance_in_widths_of_the_range_on_that_side(value: float, expected: str) -> None:
    assert severity(value, 100, 95, 110) == expected


def test_an_open_range_is_never_left() -> None:
    assert severity(-1e9, 0, -np.inf, 1) == "low"
