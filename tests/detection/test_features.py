from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomstack_provider.detection.features import lag_matrix, reach, resample, trailing_mean
from anomstack_provider.detection.series import Series


@dataclass(frozen=True)
class Recipe:
    diff_n: int = 1
    smooth_n: int = 3
    lags_n: int = 5
    freq: str | None = None
    freq_agg: str = "mean"


recipes = st.builds(Recipe, diff_n=st.integers(0, 3), smooth_n=st.integers(0, 4), lags_n=st.integers(0, 5))


def in_pandas(values: np.ndarray, recipe: Recipe) -> np.ndarray:
    """The recipe as one would write it with pandas, for comparison."""
    series = pd.Series(values)
    if recipe.diff_n:
        series = series.diff(recipe.diff_n)
    if recipe.smooth_n > 1:
        series = series.rolling(recipe.smooth_n).mean()
    lagged = pd.concat([series.shift(lag) for lag in range(recipe.lags_n + 1)], axis=1)
    return lagged.dropna().to_numpy()


@given(recipes, st.lists(st.floats(-1e6, 1e6), max_size=40))
def test_the_recipe_is_that_of_pandas(recipe: Recipe, values: list[float]) -> None:
    array = np.array(values, np.float64)
    ours = lag_matrix(array, recipe)
    np.testing.assert_allclose(ours, in_pandas(array, recipe).reshape(-1, recipe.lags_n + 1), atol=1e-6)
    assert len(ours) == max(0, len(array) - reach(recipe))


@given(recipes, st.integers(0, 30))
def test_a_row_does_not_depend_on_how_much_was_read_before_it(recipe: Recipe, cut: int) -> None:
    values = np.random.default_rng(7).normal(1e5, 3, 60)
    whole, part = lag_matrix(values, recipe), lag_matrix(values[cut:], recipe)
    assert np.array_equal(whole[len(whole) - len(part) :], part)


@given(recipes, st.integers(12, 59))
def test_a_row_does_not_depend_on_later_points(recipe: Recipe, cut: int) -> None:
    values = np.random.default_rng(8).normal(size=60)
    changed = values.copy()
    changed[cut:] += 1e9
    rows = max(0, cut - reach(recipe))
    assert np.array_equal(lag_matrix(values, recipe)[:rows], lag_matrix(changed, recipe)[:rows])


def test_a_trailing_mean_is_summed_window_by_window() -> None:
    assert trailing_mean(np.array([1.0, 2.0, 6.0, 1.0]), 3).tolist() == [3.0, 3.0]
    assert trailing_mean(np.array([1.0]), 3).tolist() == []


def hourly(days: int) -> Series:
    times = pd.date_range("2024-10-20", periods=24 * days, freq="1h").to_numpy().astype("datetime64[us]")
    return Series(times, np.ones(len(times)))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("timezone", ["UTC", "America/New_York", "Asia/Kolkata"])
@pytest.mark.parametrize("freq", ["1D", "1h", "6h", "7D", "1W", "MS"])
def test_bins_do_not_depend_on_the_first_point_read(freq: str, timezone: str) -> None:
    series = hourly(60)
    whole = resample(series, freq, "sum", timezone)
    part = resample(series.slice(40, len(series)), freq, "sum", timezone, series.times[40])
    assert len(part) > 0
    assert np.array_equal(whole.times[-len(part) :], part.times)
    assert np.array_equal(whole.values[-len(part) :], part.values)


def test_days_of_a_zone_have_25_hours_when_the_clocks_go_back() -> None:
    daily = resample(hourly(30), "1D", "sum", "America/New_York")
    assert dict(zip(daily.times.astype("datetime64[D]").astype(str), daily.values, strict=True))["2024-11-03"] == 25


@pytest.mark.parametrize("how", ["mean", "sum", "min", "max", "last", "count"])
def test_a_bin_without_points_stays_a_gap(how: str) -> None:
    series = hourly(5)
    keep = series.times.astype("datetime64[D]") != np.datetime64("2024-10-22")
    daily = resample(Series(series.times[keep], series.values[keep]), "1D", how, "UTC")
    assert daily.times.astype("datetime64[D]").astype(str).tolist()[:3] == ["2024-10-20", "2024-10-21", "2024-10-23"]
