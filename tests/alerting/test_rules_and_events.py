from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomstack_provider.alerting import events
from anomstack_provider.alerting.events import Merging, Transition, fold, quiet_start
from anomstack_provider.alerting.findings import DOWN, UP, Findings, Flags
from anomstack_provider.alerting.rules import SEVERITIES, fires, severity, smooth, worst_bucket

SPIKE = (UP, 1.5)
Bucket = tuple[int, float] | None


def hours(count: int) -> np.ndarray:
    return np.datetime64("2024-03-01", "us") + np.arange(count) * np.timedelta64(1, "h")


def found(values: Any, expected: Any = 100.0, half: Any = 10.0, times: np.ndarray | None = None) -> Findings:
    value, centre = np.asarray(values, float), np.broadcast_to(np.asarray(expected, float), np.shape(values))
    n = len(value)
    return Findings.of(
        "anomaly",
        hours(n) if times is None else times,
        np.where(value >= centre, UP, DOWN).astype(np.int8),
        why=[()] * n,
        grain=["1h"] * n,
        value=value,
        expected=centre,
        lower=centre - half,
        upper=centre + half,
    )


def merging(snooze: int = 0, gap: float = 0, reach: int = 0, renotify: float = 50, expires: float = 1e6) -> Merging:
    return Merging(snooze, timedelta(hours=gap), reach, renotify, timedelta(hours=expires))


def folded(buckets: list[Bucket], rule: Merging) -> list[tuple[str, int, str]]:
    """Fold buckets given as (direction, distance in half-widths) where something was found; else None."""
    return [(t.name, t.position, side) for t, side in _fold(buckets, rule)]


def _fold(
    buckets: list[Bucket], rule: Merging, limits: Callable[[Findings], Flags] | None = None
) -> list[tuple[Transition, str]]:
    at = [i for i, bucket in enumerate(buckets) if bucket]
    values = [100 + 10 * bucket[0] * bucket[1] for bucket in buckets if bucket]
    times = hours(len(buckets))
    findings = found(values, times=times[at])
    told = fold(times, findings, severity(findings), rule, limits and limits(findings))
    return [(t, "up" if findings.direction[t.first] == UP else "down") for t in told]


buckets = st.lists(
    st.none() | st.tuples(st.sampled_from([UP, DOWN]), st.sampled_from([0.25, 0.5, 1.2, 1.5, 2.5, 4.0, 9.0])),
    max_size=40,
)
rules_of_events = st.builds(
    merging, st.integers(0, 4), st.integers(0, 6), st.integers(0, 6), st.sampled_from([1, 50]), st.integers(2, 60)
)


# -- scores


def test_the_score_is_smoothed_over_earlier_buckets_only() -> None:
    smoothed = smooth(np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]), 3)
    assert np.isnan(smoothed[:3]).all()
    assert smoothed[3:].tolist() == [0.25, 0.5, 0.75, 1.0]


def test_without_smoothing_a_score_is_itself() -> None:
    assert smooth(np.array([0.1, 0.9]), 0).tolist() == [0.1, 0.9]


def test_at_the_threshold_a_bucket_fires_and_without_a_full_window_it_does_not() -> None:
    assert fires(np.array([np.nan, 0.79, 0.8]), 0.8).tolist() == [False, False, True]


# -- severity


def level(value: float, expected: float, lower: float, upper: float, priority: Any = "normal") -> str:
    one = np.array([value])
    numbers = {"expected": np.array([expected]), "lower": np.array([lower]), "upper": np.array([upper])}
    findings = Findings.of("anomaly", hours(1), np.array([UP], np.int8), why=[()], grain=["1h"], value=one, **numbers)
    return SEVERITIES[int(severity(findings, priority)[0])]


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
    assert level(value, 100, 95, 110) == expected


def test_an_open_range_is_never_left() -> None:
    assert level(-1e9, 0, np.nan, 1) == "low"


def test_priority_moves_severity_one_step_and_not_beyond_its_ends() -> None:
    assert [level(value, 100, 95, 110, "low") for value in (100, 111, 120)] == ["low", "low", "medium"]
    assert [level(value, 100, 95, 110, "high") for value in (100, 111, 120)] == ["medium", "high", "high"]


def test_what_has_no_expected_value_is_of_medium_severity() -> None:
    assert level(5, np.nan, 0, 4) == "medium"
    assert level(np.nan, np.nan, np.nan, np.nan) == "medium"


# -- the bucket that a score is about


@pytest.mark.parametrize(
    ("distance", "worst"),
    [
        ([0, 0, 0, 0, 9, 3, 0.5, 0.2], 4),  # reached by nothing but the features
        ([0, 0, 0, 9, 0, 3, 0.5, 0.2], 5),  # of those averaged, before a worse one further back
        ([0, 0, 0, 9, 0, 0, 0.5, 0.2], 3),
        ([0, 9, 0, 0, 0, 0.9, 1, 0.2], 7),  # beyond the reach, the others within their range
        ([0, 0, 0, 0, 0, 2, 0, 2], 7),
        ([0, 0, 0, np.nan, np.nan, np.inf, 4, 5], 5),
    ],
)
def test_the_worst_bucket_is_the_farthest_out_of_those_averaged_then_of_those_in_reach(
    distance: list[float], worst: int
) -> None:
    assert worst_bucket(np.array(distance), np.array([7]), 3, 4).tolist() == [worst]


def test_the_worst_bucket_of_the_first_ones_is_not_taken_from_the_end() -> None:
    far = np.array([0.5, 2.0, 0.1, 9.0])
    assert worst_bucket(far, np.arange(4), 1, 3).tolist() == [0, 1, 1, 3]
    assert worst_bucket(far, np.empty(0, np.intp), 1, 3).tolist() == []


def test_severity_and_escalation_are_those_of_the_worst_bucket_and_an_echo_is_of_the_own() -> None:
    times = hours(8)
    own = found([102, 98, 131, 99], times=times[[1, 2, 5, 6]])
    findings = own.about(found([115, 115, 131, 160], times=times[[0, 0, 5, 5]]))
    assert [SEVERITIES[rank] for rank in severity(findings)] == ["medium", "medium", "high", "high"]
    assert findings.direction.tolist() == [UP] * 4
    told = fold(times, findings, severity(findings), merging(snooze=4, reach=3))
    assert [(t.name, t.position, t.peak) for t in told] == [("opened", 1, 0), ("escalated", 5, 2)]
    told = fold(times, findings, severity(findings), merging(snooze=4, reach=0))
    assert [(t.name, t.position, t.peak) for t in told] == [("opened", 1, 0), ("escalated", 5, 2), ("escalated", 6, 3)]


# -- events


def test_one_spike_is_one_opened_and_one_closed() -> None:
    assert folded([None, SPIKE, None, None, None, None], merging(snooze=3)) == [
        ("opened", 1, "up"),
        ("closed", 5, "up"),
    ]
    assert folded([None, SPIKE, None], merging()) == [("opened", 1, "up"), ("closed", 2, "up")]


def test_a_long_anomaly_is_one_event() -> None:
    assert folded([SPIKE] * 10 + [None] * 5, merging(snooze=3)) == [("opened", 0, "up"), ("closed", 13, "up")]
    assert folded([SPIKE] * 10, merging()) == [("opened", 0, "up")]


def test_findings_within_the_gap_are_one_event_and_beyond_it_two() -> None:
    day: list[Bucket] = [SPIKE, *[None] * 23, SPIKE, None]
    assert folded(day, merging(gap=24)) == [("opened", 0, "up")]
    later: list[Bucket] = [SPIKE, *[None] * 24, SPIKE, None]
    assert [(name, at) for name, at, _ in folded(later, merging(gap=24))] == [
        ("opened", 0),
        ("closed", 25),
        ("opened", 25),
    ]


def test_up_then_down_are_two_events() -> None:
    assert folded([(UP, 2.0), (DOWN, 2.0), None, None, None], merging(snooze=1)) == [
        ("opened", 0, "up"),
        ("opened", 1, "down"),
        ("closed", 2, "up"),
        ("closed", 3, "down"),
    ]


def test_an_event_escalates_when_it_is_so_much_further_than_last_told() -> None:
    climbing: list[Bucket] = [(UP, d) for d in (1.1, 1.2, 1.7, 1.8, 2.7, 3.9)]
    # 1.7 is half as much again as 1.1; 2.7 than 1.7, and high; 3.9 is not than 2.7.
    assert folded(climbing, merging()) == [("opened", 0, "up"), ("escalated", 2, "up"), ("escalated", 4, "up")]


def test_an_event_escalates_with_its_severity() -> None:
    assert folded([(UP, 1.9), (UP, 2.0)], merging(renotify=1000)) == [("opened", 0, "up"), ("escalated", 1, "up")]


def test_what_is_within_its_range_escalates_nothing() -> None:
    assert folded([(UP, 0.25), (UP, 0.9)], merging()) == [("opened", 0, "up")]


def test_a_value_beyond_a_threshold_is_told_once_and_its_end_names_the_worst() -> None:
    """Without an expected value nobody knows how many widths out it is: no bucket is further than the one before."""
    values, n = np.array([520.0, 900.0, 520.0, 530.0]), 4
    bounds = {"value": values, "lower": np.full(n, np.nan), "upper": np.full(n, 500.0)}
    sides = np.full(n, UP, np.int8)
    findings = Findings.of("threshold", hours(n), sides, why=[()] * n, grain=["1h"] * n, **bounds)
    told = fold(hours(n + 2), findings, severity(findings), merging(), np.ones(n, bool))
    assert [(t.name, t.position) for t in told] == [("opened", 0), ("closed", 4)]
    assert values[told[1].peak] == 900


def test_the_echo_of_an_event_opens_extends_and_escalates_nothing() -> None:
    echo: Bucket = (DOWN, 0.5)
    assert folded([SPIKE, echo, (UP, 0.5), echo, None], merging(reach=3)) == [("opened", 0, "up"), ("closed", 1, "up")]
    # Beyond the reach it is a finding of its own, and outside of the range it always is.
    assert ("opened", 4, "down") in folded([SPIKE, None, None, None, echo], merging(reach=3))
    assert ("opened", 1, "down") in folded([SPIKE, (DOWN, 1.5)], merging(reach=3))


def test_an_event_that_lasts_too_long_says_so_once_and_is_silent_until_it_is_over() -> None:
    long: list[Bucket] = [(UP, 1.5 + i / 2) for i in range(10)]
    told = folded([*long, None, None, SPIKE, None], merging(expires=3, renotify=1e6))
    assert told == [
        ("opened", 0, "up"),
        ("escalated", 1, "up"),
        ("expired", 4, "up"),
        ("opened", 12, "up"),
        ("closed", 13, "up"),
    ]


def test_what_is_told_counts_the_buckets_and_knows_the_worst() -> None:
    ((_, _), (_, _), (closed, _)) = _fold([(UP, 1.5), None, (UP, 4.0), (UP, 1.2), None, None, None], merging(snooze=2))
    assert (closed.name, closed.fired, closed.first, closed.newest, closed.peak) == ("closed", 3, 0, 2, 1)
    assert SEVERITIES[closed.severity] == "high"


def _per_event(told: list[tuple[Transition, str]]) -> dict[int, list[Transition]]:
    per: dict[int, list[Transition]] = {}
    for transition, _ in told:
        per.setdefault(transition.first, []).append(transition)
    return per


@given(buckets, rules_of_events)
def test_an_event_opens_once_ends_at_most_once_and_never_beside_another_of_its_direction(
    series: list[Bucket], rule: Merging
) -> None:
    told = _fold(series, rule)
    spans: dict[str, list[tuple[int, float]]] = {"up": [], "down": []}
    sides = {t.first: side for t, side in told}
    for first, transitions in _per_event(told).items():
        names = [t.name for t in transitions]
        assert names[0] == "opened"
        assert names.count("opened") == 1
        assert names.count("closed") + names.count("expired") <= 1
        assert "closed" not in names[:-1]
        ends = [t.position for t in transitions if t.name == "closed"]
        spans[sides[first]].append((transitions[0].position, ends[0] if ends else np.inf))
        keys = [(t.name, t.position) for t in transitions]
        assert len(keys) == len(set(keys))
    expired = {t.first for t, _ in told if t.name == "expired"}
    for side in spans.values():
        for (_, end), (start, _) in pairwise(side):
            assert end <= start or expired


@given(buckets, rules_of_events, buckets)
def test_what_comes_later_changes_nothing_before(past: list[Bucket], rule: Merging, future: list[Bucket]) -> None:
    so_far = [(t.name, t.position, side, t.fired, t.severity) for t, side in _fold(past, rule)]
    whole = [(t.name, t.position, side, t.fired, t.severity) for t, side in _fold([*past, *future], rule)]
    assert [one for one in whole if one[1] < len(past)] == so_far


@given(buckets, rules_of_events)
def test_every_finding_that_is_no_echo_belongs_to_an_event(series: list[Bucket], rule: Merging) -> None:
    told = _fold(series, Merging(rule.buckets, rule.gap, 0, rule.renotify_pct, rule.expires))
    opened = {side: [t.position for t, s in told if t.name == "opened" and s == side] for side in ("up", "down")}
    for i, bucket in enumerate(series):
        if bucket:
            assert any(position <= i for position in opened["up" if bucket[0] == UP else "down"])


@given(buckets, rules_of_events, buckets, st.data())
def test_from_a_quiet_gap_on_the_past_does_not_matter(
    series: list[Bucket], rule: Merging, past: list[Bucket], data: st.DataObject
) -> None:
    first = data.draw(st.integers(0, len(series)))
    fired = np.array([bucket is not None for bucket in series], bool)
    start = quiet_start(fired, hours(len(series)), first, rule)
    if start is not None:
        assert start <= first
        whole = [(t.name, t.position - len(past) - start, side, t.fired) for t, side in _fold([*past, *series], rule)]
        part = [(t.name, t.position, side, t.fired) for t, side in _fold(series[start:], rule)]
        assert [one for one in whole if one[1] >= 0] == part
    else:
        unknown = max(rule.buckets, rule.gap // timedelta(hours=1)) + 2 + rule.reach
        assert first < unknown or fired[:first].any()


def test_an_event_does_not_escalate_to_a_lower_severity_than_was_told() -> None:
    series: list[Bucket] = [(UP, 4.0), (UP, 1.5), None, None]
    told = _fold(series, merging(), lambda found: found.value < 120)  # the second crosses a limit and is medium
    assert [(t.name, SEVERITIES[t.severity]) for t, _ in told] == [
        ("opened", "high"),
        ("escalated", "high"),
        ("closed", "high"),
    ]


def test_a_fold_over_nothing_tells_nothing() -> None:
    assert folded([], merging()) == []
    assert events.quiet_start(np.zeros(0, bool), hours(0), 0, merging(snooze=3)) is None


def test_the_first_bucket_beyond_a_limit_is_told_again_and_is_no_echo() -> None:
    rule = merging(snooze=1, reach=3)
    series: list[Bucket] = [(UP, 4.0), (UP, 4.1), (UP, 4.1), (UP, 0.5)]
    assert [(t.name, t.position, t.fired) for t, _ in _fold(series, rule)] == [("opened", 0, 1)]
    told = _fold(series, rule, lambda found: found.value > 140.5)
    assert [(t.name, t.position, t.fired) for t, _ in told] == [("opened", 0, 1), ("escalated", 1, 2)]
    told = _fold(series, rule, lambda found: found.value < 110)
    assert [(t.name, t.position, t.fired) for t, _ in told] == [("opened", 0, 1), ("escalated", 3, 4)]
    told = _fold(series, rule, lambda found: found.value > 100)
    assert [(t.name, t.position, t.fired) for t, _ in told] == [("opened", 0, 1)], "it was told when it opened"
