"""What the seasonal recipe says of spikes, steps, still lines and noise, and how often it is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from anomstack_provider.detection.seasonal.model import FULL, MEDIAN, SEASONAL
from anomstack_provider.detection.seasonal.score import score_of, threshold_of
from anomstack_provider.detection.series import Floats
from tests.detection.seasonal.conftest import business, fit, fit_all, judge, judge_values, series, training

pytestmark = pytest.mark.filterwarnings("error")

HOURS_PER_MONTH, DAYS_PER_MONTH = 720, 30


def log_rates(train: Floats, later: Floats, grain: str = "1h") -> Floats:
    """Return the log rate of each later bucket by a model of the earlier ones."""
    return judge_values(fit(series(train, grain), grain), np.r_[train, later], len(train), grain).rate


def noise(n: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(100, 5, n)


# -- what there is to learn from


@pytest.mark.parametrize("grain", ["1h", "1d", "instant"])
@pytest.mark.parametrize(
    ("points", "rung"), [(2, MEDIAN), (49, MEDIAN), (50, SEASONAL), (99, SEASONAL), (100, FULL), (500, FULL)]
)
def test_the_more_points_the_more_is_asked(points: int, rung: str, grain: str) -> None:
    fitted = fit(series(noise(points), grain), grain)
    assert (fitted.rung, fitted.panel.points.tolist()) == (rung, [points])
    assert (fitted.panel.full is not None) == (rung == FULL)


def test_gaps_are_no_points() -> None:
    values = noise(120)
    values[10:80] = np.nan
    fitted = fit(series(values))
    assert (fitted.rung, fitted.panel.points.tolist()) == (SEASONAL, [50])


@pytest.mark.parametrize("points", [14, 60, 300])
@pytest.mark.parametrize("grain", ["1h", "1d", "instant"])
def test_ten_sigma_are_odd_and_one_is_not_on_any_rung(points: int, grain: str) -> None:
    train = noise(points)
    later = np.array([100.0, 105.0, 95.0])
    assert log_rates(train, later[:1], grain)[0] > 0
    for value in later[1:]:
        assert log_rates(train, np.array([value]), grain)[0] > 0
    for value in (150.0, 50.0):
        # A fortnight tells too little for less than once a month of hours.
        sure = 160.0 if points == 14 and value > 100 else 40.0 if points == 14 else value
        assert log_rates(train, np.array([sure]), grain)[0] < 0


# -- odd buckets


@pytest.mark.parametrize("points", [14, 60, 300])
@pytest.mark.parametrize("constant", [0.0, 7.0, -3e5])
def test_a_constant_metric_that_moves_is_odd(points: int, constant: float) -> None:
    train = np.full(points, constant)
    rates = log_rates(train, np.array([constant, constant + max(1.0, abs(constant))]))
    assert rates[0] > 0
    assert rates[1] < np.log(0.01)


@pytest.mark.parametrize("grain", ["1h", "1d"])
@pytest.mark.parametrize("sign", [1, -1])
def test_an_extreme_point_of_the_past_hides_nothing(sign: int, grain: str) -> None:
    for points, seed in [(60, 0), (300, 1), (1000, 2)]:
        for at in (5, points // 2, points - 30, points - 2):
            train = noise(points, seed)
            train[at] += sign * 5e6
            later = np.r_[noise(3, seed + 7), 150.0]
            assert log_rates(train, later, grain)[-1] < 0, (points, at)


@pytest.mark.parametrize("kind", ["noise", "business"])
def test_the_larger_a_spike_the_higher_its_score_without_end(kind: str) -> None:
    for points in (30, 80, 600):
        train = noise(points) if kind == "noise" else business(points)
        sigma = 5.0
        sizes = np.array([10, 100, 1000, 1e6, 1e9, 1e12])
        for sign in (1, -1):
            rates = np.array([log_rates(train, np.array([train[-1] + sign * size * sigma]))[0] for size in sizes])
            scores = score_of(rates)
            assert (np.diff(rates) < 0).all()
            assert (np.diff(scores) > 0).all()
            assert kind == "business" or scores[0] > 0.5
            assert scores[-1] < 1


def test_a_line_that_stands_still_is_odd_on_a_metric_that_moves() -> None:
    for seed in range(5):
        train = business(2000, seed)
        rates = log_rates(train, np.full(48, train[-1]))
        assert rates[0] > 0
        assert (rates[5:] < np.log(0.1)).all()


def test_a_line_that_stands_still_every_night_is_usual_there() -> None:
    hour = np.arange(24 * 60) % 24
    values = np.where(hour < 7, 20.0, 20 + np.round(np.random.default_rng(0).gamma(20, 5, len(hour)), 3))
    train, later = values[: 24 * 50], values[24 * 50 :]
    quiet = log_rates(train, later)
    assert (quiet[hour[24 * 50 :] < 7] > 0).all()
    stuck = later.copy()
    stuck[24 * 3 + 9 : 24 * 6] = stuck[24 * 3 + 8]
    assert (log_rates(train, stuck)[24 * 4 : 24 * 4 + 7] < np.log(0.01)).all()


def test_a_season_that_breaks_is_odd() -> None:
    hour = np.arange(24 * 41)
    values = 100 + 50 * np.sin(hour / 24 * 2 * np.pi) + np.random.default_rng(3).normal(0, 2, len(hour))
    values, later = values[:-24], values[-24:]
    assert (log_rates(values, later) > np.log(0.1)).all()
    assert (log_rates(values, later[[18]]) < np.log(0.1)).all()  # the trough of the evening, at midnight


@pytest.mark.parametrize("gaps", [0.0, 0.03])
@pytest.mark.parametrize("scale", [1.0, 1e9])
@pytest.mark.parametrize("pattern", [[0.1], [0.3, 0.7], [0.3] * 8 + [0.7] * 16, [0.1, 0.3, 0.7, 0.2, 0.9, 0.4] * 4])
def test_a_metric_that_repeats_itself_exactly_is_not_odd(pattern: list[float], scale: float, gaps: float) -> None:
    values = scale + np.resize(pattern, 2000)
    values[np.random.default_rng(0).random(2000) < gaps] = np.nan
    one = series(values)
    fitted = fit(one.slice(0, 1400))
    odd = judge(fitted, one, np.arange(1400, len(one))).rate < 0
    # A gap moves the mean of its block, on a metric that else does not move at all.
    assert odd.mean() <= (0.02 if gaps else 0.0)


# -- ranges


@pytest.mark.parametrize("points", [30, 80, 900])
def test_the_range_is_wider_for_a_smaller_budget_and_holds_what_is_expected(points: int) -> None:
    values = business(points + 50)
    fitted = fit(series(values[:points]))
    before = None
    for budget in (30.0, 1.0, 0.1, 0.001):
        found = judge(fitted, series(values), np.arange(points, points + 50), budget=budget)
        assert (found.lower <= found.expected).all()
        assert (found.expected <= found.upper).all()
        assert (found.lower >= 0).all()
        if before is not None:
            assert (found.upper >= before.upper).all()
            assert (found.lower <= before.lower).all()
        before = found


def test_a_metric_that_never_was_negative_is_not_expected_to_be() -> None:
    hour = np.arange(24 * 40)
    values = np.maximum(np.sin(hour / 24 * 2 * np.pi), 0) * np.random.default_rng(0).gamma(5, 10, len(hour))
    found = judge_values(fit(series(values[:-48])), values, len(values) - 48)
    assert (found.expected >= 0).all()
    assert (found.lower >= 0).all()


# -- scores


def test_the_score_is_another_name_for_the_rate() -> None:
    rates = np.log([1e-9, 1e-3, 0.1, 1.0, 10.0, 1e4])
    scores = score_of(rates)
    assert (np.diff(scores) < 0).all()
    np.testing.assert_allclose(score_of(np.log([1, 0.1, 0.01, 10])), [0.5, 0.75, 0.5 + 1 / 3, 0.25])
    for budget in (1e-6, 0.1, 1.0, 3.7, 1e5):
        assert threshold_of(budget) == score_of(np.log(np.float64(budget)))
        decades = threshold_of(budget) * 2 - 1
        np.testing.assert_allclose(-decades / (1 - abs(decades)), np.log10(budget), atol=1e-12)


def test_a_score_lies_between_0_and_1_and_a_gap_has_none() -> None:
    scores = score_of(np.array([-1e300, -700.0, 0.0, 700.0, 1e300, np.nan]))
    assert (np.diff(scores[:-1]) < 0).all() or (np.diff(scores[:-1]) <= 0).all()
    assert (scores[:-1] >= 0).all()
    assert (scores[:-1] <= 1).all()
    assert np.isnan(scores[-1])


# -- false alarms


def autocorrelated(rng: np.random.Generator, m: int, n: int) -> Floats:
    out = rng.normal(size=(m, n))
    for i in range(1, n):
        out[:, i] = 0.7 * out[:, i - 1] + np.sqrt(1 - 0.7**2) * out[:, i]
    return out


def family(kind: str, m: int, n: int, seed: int) -> Floats:
    """Return metrics in which nothing ever happens, shape (m, n)."""
    rng = np.random.default_rng(seed)
    day = 1 + 0.5 * np.sin(np.arange(n) / 24 * 2 * np.pi)
    kinds = {
        "normal": lambda: rng.normal(100, 5, (m, n)),
        "counts": lambda: rng.poisson(20, (m, n)).astype(float),
        "lognormal": lambda: np.exp(rng.normal(3, 0.5, (m, n))),
        "autocorrelated": lambda: 100 + 5 * autocorrelated(rng, m, n),
        "seasonal": lambda: 100 * day * np.exp(rng.normal(0, 0.1, (m, n))),
        "rare counts": lambda: rng.poisson(0.1, (m, n)).astype(float),
        "mostly zero": lambda: np.where(rng.random((m, n)) < 0.9, 0, rng.poisson(5, (m, n))).astype(float),
    }
    return kinds[kind]()


def events(log_rate: Floats, log_budget: float, apart: int) -> int:
    """Return how often a rate falls below the budget; buckets less than so many apart tell the same."""
    at = np.flatnonzero(log_rate < log_budget)
    return int((np.diff(at, prepend=-apart - 1) > apart).sum())


def realised(kind: str, grain: str, points: int, later: int, per_month: int, budget: float) -> float:
    """Return the false alarms a month that metrics of this kind get, divided by the budget."""
    metrics = family(kind, 100, points + later, seed=17)
    fitted = fit_all({str(i): training(series(row[:points], grain), grain) for i, row in enumerate(metrics)})
    apart = 24 if grain == "1h" else 1
    alarms = sum(
        events(judge_values(fitted[str(i)], row, points, grain).rate, np.log(budget), apart)
        for i, row in enumerate(metrics)
    )
    return alarms / (len(metrics) * later / per_month) / budget


@pytest.mark.parametrize("kind", ["normal", "counts", "lognormal", "autocorrelated", "seasonal"])
@pytest.mark.parametrize(
    ("grain", "points", "later", "per_month"), [("1h", 1440, 720, HOURS_PER_MONTH), ("1d", 365, 240, DAYS_PER_MONTH)]
)
def test_there_are_about_as_many_false_alarms_as_the_budget_says(
    kind: str, grain: str, points: int, later: int, per_month: int
) -> None:
    assert 0.4 <= realised(kind, grain, points, later, per_month, 1.0) <= 2.5


@pytest.mark.parametrize("kind", ["rare counts", "mostly zero"])
@pytest.mark.parametrize(
    ("grain", "points", "later", "per_month"), [("1h", 1440, 720, HOURS_PER_MONTH), ("1d", 365, 240, DAYS_PER_MONTH)]
)
def test_counts_that_are_mostly_zero_do_not_explode(
    kind: str, grain: str, points: int, later: int, per_month: int
) -> None:
    assert realised(kind, grain, points, later, per_month, 1.0) <= 3


@pytest.mark.parametrize("points", [30, 80])
def test_young_metrics_keep_the_budget_too(points: int) -> None:
    for kind in ("normal", "counts", "lognormal", "autocorrelated"):
        assert realised(kind, "1h", points, 240, HOURS_PER_MONTH, 1.0) <= 5, kind
