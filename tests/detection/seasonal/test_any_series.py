"""
Whatever the numbers are: no exception, no warning, a rate and a range for every value.

A series of nothing but NaN does not exist: ``Series`` holds finite values only, and a bucket without a row is a gap.
Empty ones and those of one point are the caller's, who states that they are learning; a grid takes two points.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from anomstack_provider.detection.seasonal.score import score_of
from anomstack_provider.detection.series import Floats, Series
from tests.detection.seasonal.conftest import fit, judge, series, times

pytestmark = pytest.mark.filterwarnings("error")

N = 240
RNG = np.random.default_rng(0)
LARGEST = float(np.finfo(np.float64).max)
CASES: dict[str, Floats] = {
    "constant": np.full(N, 7.0),
    "zero": np.zeros(N),
    "signed zeros": np.where(RNG.random(N) < 0.5, 0.0, -0.0),
    "two values": np.arange(N) % 2 * 1.0,
    "mostly one of two": (RNG.random(N) < 0.98) * 1.0,
    "counts": RNG.poisson(3, N).astype(float),
    "rare counts": RNG.poisson(0.05, N).astype(float),
    "one at the end": np.r_[np.zeros(N - 1), 1.0],
    "one at the beginning": np.r_[1.0, np.zeros(N - 1)],
    "negative": -RNG.gamma(2, 5, N),
    "huge": RNG.normal(1, 0.1, N) * 1e300,
    "the largest": np.full(N, LARGEST),
    "the largest of either sign": LARGEST * RNG.choice([-1, 1], N),
    "tiny": RNG.normal(1, 0.1, N) * 1e-300,
    "subnormal": RNG.integers(1, 9, N) * 5e-324,
    "a huge one among usual ones": np.r_[RNG.normal(0, 1, N // 2), 1e300, RNG.normal(0, 1, N // 2 - 1)],
    "a huge one among tiny ones": np.r_[np.full(N // 2, 1e-300), 1e300, np.full(N // 2 - 1, 2e-300)],
    "of all sizes": RNG.choice([1e300, 1e-300, -1e300, 0, 1], N),
    "growing": np.arange(float(N)) ** 4,
    "zero at night": np.maximum(np.sin(np.arange(N) / 24 * 2 * np.pi), 0) * RNG.gamma(5, 1, N),
}


def check(train: Series, whole: Series, grain: str, budget: float = 1.0) -> None:
    found = judge(fit(train, grain), whole, np.arange(len(whole)), budget=budget)
    assert np.isfinite(found.rate).all()
    for array in (found.expected, found.lower, found.upper):
        assert np.isfinite(array).all()
    assert (found.lower <= found.expected).all()
    assert (found.expected <= found.upper).all()
    score = score_of(found.rate)
    assert ((score >= 0) & (score <= 1)).all()


@pytest.mark.parametrize("grain", ["1h", "1d", "instant"])
@pytest.mark.parametrize("points", [2, 3, 14, 60, N])
@pytest.mark.parametrize("name", CASES)
def test_odd_series_are_judged_without_a_warning(name: str, points: int, grain: str) -> None:
    values = CASES[name][:points]
    train = series(values, grain)
    for later in (0.0, 1e300, -1e300, 1e-300, LARGEST, float(values[-1])):
        check(train, series(np.r_[values, later], grain), grain)


@pytest.mark.parametrize("budget", [1e-6, 0.1, 30.0, 1e6])
@pytest.mark.parametrize("name", CASES)
def test_any_budget_has_a_range(name: str, budget: float) -> None:
    for points in (14, 60, N):
        one = series(CASES[name][:points])
        check(one, one, "1h", budget)


numbers = (
    st.floats(allow_nan=False, allow_infinity=False)
    | st.floats(-1e3, 1e3)
    | st.integers(0, 3).map(float)
    | st.sampled_from([0.0, -0.0, 1e300, -1e300, 1e-300, LARGEST, -LARGEST, 5e-324])
)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(numbers, min_size=2, max_size=14),
    st.sampled_from([2, 14, 60, 130]),
    st.sampled_from(["1h", "1d", "1w", "1mo", "5min", "instant"]),
    st.floats(0, 0.9),
    numbers,
)
@example([1.0, 1.0], 2, "1h", 0.0, 2.0)
@example([0.0, LARGEST], 130, "1h", 0.0, -LARGEST)
def test_any_numbers_with_any_gaps_are_judged(
    values: list[float], points: int, grain: str, gaps: float, later: float
) -> None:
    many = np.r_[np.resize(values, max(points, len(values))), later]
    many[1:-2][np.random.default_rng(1).random(len(many) - 3) < gaps] = np.nan
    whole = series(many, grain)
    check(whole.slice(0, len(whole) - 1), whole, grain)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.integers(1, 10**11), min_size=2, max_size=150),
    st.sampled_from(["1h", "1d", "1w", "1mo", "5min", "instant"]),
    st.integers(0, 2**32 - 1),
)
def test_any_moments_are_judged(steps: list[int], grain: str, seed: int) -> None:
    moments = np.datetime64("2024-01-01", "us") + np.cumsum(steps) * np.timedelta64(1, "us")
    if grain != "instant":
        # Readings of minutes over half a year of steps are no metric; they only take long.
        moments = moments[moments < moments[0] + 2000 * (times(2, grain)[1] - times(2, grain)[0])]
    whole = Series(moments, np.random.default_rng(seed).normal(size=len(moments)))
    if len(whole) > 2:
        check(whole.slice(0, len(whole) - 1), whole, grain)
