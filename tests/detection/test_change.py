from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyod.models.mad import MAD

from anomstack_provider.detection.change import Changes, changes
from anomstack_provider.detection.series import Series


@dataclass(frozen=True)
class Rule:
    change_threshold: float = 3.5
    change_detect_last_n: int = 1
    change_smooth_n: int = 1
    change_max_n: int = 250
    change_metric_timestamp_max_days_ago: int = 45
    train_min_n: int = 14


def series(values: object, step: str = "1h", start: str = "2024-01-01") -> Series:
    array = np.asarray(values, np.float64)
    hours = int(np.timedelta64(step[:-1], step[-1]) / np.timedelta64(1, "h"))
    return Series(np.datetime64(start, "us") + np.arange(len(array)) * np.timedelta64(hours, "h"), array)


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 5, n)


def fired(values: object, rule: Rule | None = None, resolution: float = 1e-4, step: str = "1h") -> list[int]:
    return np.flatnonzero(changes(series(values, step), 0, rule or Rule(), resolution).fires).tolist()


def test_by_hand() -> None:
    """Median of 1 to 15 is 8, the median distance from it 4: 3.5 x 4 / 0.6745 = 20.7561 either side."""
    values = [*range(1, 16), 28.7, 28.8, -12.7, -12.8]
    rule = Rule(change_max_n=16)
    found = changes(series([*values[:15], values[15]]), 15, rule)
    assert (found.median[0], found.fires[0]) == (8, False)
    assert found.upper[0] == pytest.approx(28.7561, abs=1e-4)
    assert found.lower[0] == pytest.approx(-12.7561, abs=1e-4)
    assert found.distance[0] == pytest.approx(0.6745 * 20.7 / 4)
    for value in values[15:]:
        assert bool(fired([*range(1, 16), value], rule)) == (value > 28.7561 or value < -12.7561)


def test_it_is_the_mad_of_pyod() -> None:
    values = noise(400)
    found = changes(series(values), 300, Rule(change_max_n=100, change_detect_last_n=3, change_smooth_n=2))
    means = (values[1:] + values[:-1]) / 2  # means[i - 1] is that of i - 1 and i
    for k, i in enumerate(range(300, 400)):
        past = means[i - 100 + 1 : i - 3]
        detector = MAD().fit(past.reshape(-1, 1))
        assert found.smoothed[k] == means[i - 1]
        assert found.distance[k] == pytest.approx(detector.decision_function(means[i - 1 : i].reshape(-1, 1))[0])


@pytest.mark.parametrize("usual", [0.001, 1.0, 250.0, 1e12])
def test_a_value_a_thousand_times_the_usual_one_fires(usual: float) -> None:
    values = usual * noise(100) / 100
    assert fired([*values, 1000 * usual]) == [100]
    assert fired([*np.full(100, usual), 1000 * usual]) == [100]
    # And fires once more, after another one: one outlier does not blind the rule.
    assert fired([*np.full(100, usual), 1000 * usual, *np.full(20, usual), 1000 * usual]) == [100, 121]


def test_a_constant_series_neither_fires_on_rounding_nor_explodes() -> None:
    still = np.full(60, 100.0)
    found = changes(series(still), 0, Rule(), 1e-4)
    assert not found.fires.any()
    assert np.isfinite(found.distance[14:]).all()
    for step in (1e-13, 1e-4, 3e-4, 0.1):
        assert fired([*still, 100 + step]) == []
    assert fired([*still, 101]) == [60]
    assert fired([*np.zeros(60), 1e-4]) == []
    assert fired([*np.zeros(60), 1]) == [60]
    assert fired(0.1 * 3 * np.ones(60) + np.tile([0, 1e-17], 30)) == []


def test_where_most_points_are_one_value_their_mean_distance_counts() -> None:
    """Ten fives and five sixes: the mean distance from 5 is 1/3; 3.5 x 0.8453 / 3 / 0.6745 = 1.462 either side."""
    usual = [5, 5, 6] * 5
    assert fired([*usual, 6.46]) == []
    assert fired([*usual, 6.47]) == [15]
    assert fired([*usual, 3.54]) == []
    assert fired([*usual, 3.53]) == [15]


def test_a_level_shift_fires_until_it_is_the_usual_level() -> None:
    values = np.r_[noise(100), noise(140, 1) + 200]
    assert set(fired(values)) >= set(range(100, 190))
    assert fired(values)[-1] <= 200  # by then half of the points are of the new level
    last = fired(np.r_[noise(100), noise(30, 1) + 200], Rule(change_max_n=41, change_detect_last_n=20))
    assert set(last) >= set(range(100, 130))


def test_old_points_do_not_count() -> None:
    values = np.r_[np.zeros(20), noise(20)]
    assert fired(values, Rule(change_metric_timestamp_max_days_ago=15), step="24h")[:1] == [20]
    assert fired(values, Rule(change_metric_timestamp_max_days_ago=10), step="24h") == []  # too few points


def test_few_points_tell_nothing() -> None:
    assert fired([*np.full(13, 5.0), 5000]) == []
    assert fired([*np.full(14, 5.0), 5000]) == [14]
    assert fired([*np.full(13, 5.0), 5000], Rule(train_min_n=3)) == [13]
    assert fired([*np.full(30, 5.0), 5000], Rule(change_max_n=10)) == [30]
    for n in (0, 1, 2):
        assert fired(np.ones(n)) == []
    assert fired([*np.full(30, 5.0), 5000], Rule(change_max_n=3, change_detect_last_n=3)) == []


def test_values_of_any_size_are_judged() -> None:
    found = changes(series([*(1e305 * noise(30)), -1.7e308, 1.7e308]), 0, Rule())
    assert found.fires.tolist()[-2:] == [True, True]
    assert not np.isnan(found.median[14:]).any()
    assert fired(np.full(40, np.nan)) == []


@settings(max_examples=60)
@given(
    st.lists(st.floats(-1e9, 1e9).map(lambda x: round(x, 3)), min_size=1, max_size=60),
    st.integers(0, 59),
    st.integers(1, 25),
    st.integers(1, 4),
    st.integers(0, 4),
)
def test_no_later_point_and_no_older_one_changes_what_is_said(
    values: list[float], position: int, most: int, last: int, smooth: int
) -> None:
    rule = Rule(change_max_n=most, change_detect_last_n=last, change_smooth_n=smooth, train_min_n=3)
    position %= len(values)
    whole, alone = series(values), series(values[: position + 1])
    assert said(changes(whole, 0, rule), position) == said(changes(alone, position, rule), 0)
    needed = whole.slice(max(position - most + 1, 0), position + 1)
    assert said(changes(whole, 0, rule), position) == said(changes(needed, len(needed) - 1, rule), 0)


def said(found: Changes, i: int) -> str:
    return repr([getattr(found, name)[i] for name in ("smoothed", "median", "lower", "upper", "distance", "fires")])
