from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from anomstack_provider.detection.seasonal import arrays
from anomstack_provider.detection.series import Floats

pytestmark = pytest.mark.filterwarnings("error")

some = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=40),
    elements=st.floats(-1e6, 1e6) | st.just(float("nan")),
)


def known(row: Floats) -> Floats:
    return row[np.isfinite(row)]


@given(some)
def test_a_median_is_that_of_what_is_known(x: Floats) -> None:
    theirs = [np.median(known(row)) if len(known(row)) else np.nan for row in x]
    np.testing.assert_allclose(arrays.median(x), theirs)


@given(some, st.sampled_from([1, 2, 4, 8, 32]), st.integers(1, 4))
def test_a_trailing_mean_is_that_of_its_window(x: Floats, width: int, least: int) -> None:
    theirs = np.full_like(x, np.nan)
    for i, row in enumerate(x):
        for j in range(len(row)):
            window = known(row[max(0, j - width + 1) : j + 1])
            if len(window) >= least:
                theirs[i, j] = window.mean()
    np.testing.assert_allclose(arrays.trailing_mean(x, width, least), theirs, atol=1e-6)


@given(some, st.integers(0, 39))
def test_a_trailing_mean_does_not_depend_on_where_the_array_begins(x: Floats, cut: int) -> None:
    whole, part = arrays.trailing_mean(x, 4, 1), arrays.trailing_mean(x[:, cut:], 4, 1)
    assert whole[:, cut + 3 :].tobytes() == part[:, 3:].tobytes()


@given(some, st.integers(0, 45))
def test_shifted_values_are_those_of_so_many_buckets_ago(x: Floats, steps: int) -> None:
    out = arrays.shifted(x, steps)
    assert np.isnan(out[:, :steps]).all()
    assert out[:, steps:].tobytes() == x[:, : max(x.shape[1] - steps, 0)].tobytes()


@given(some, st.floats(0, 1))
def test_a_quantile_is_a_value_of_its_row_that_so_many_do_not_exceed(x: Floats, share: float) -> None:
    for row, found in zip(x, arrays.quantile(x, share), strict=True):
        if not len(known(row)):
            assert np.isnan(found)
        else:
            assert found in known(row)
            assert (known(row) <= found).mean() >= share


def test_the_spread_of_a_normal_distribution_is_its_standard_deviation() -> None:
    x = np.random.default_rng(0).normal(7, 3, (4, 20_000))
    np.testing.assert_allclose(arrays.spread(x), 3, rtol=0.03)
    x[:, :4000] = 1e12  # a fifth of them is anything
    assert (arrays.spread(x) < 6).all()


def test_a_search_tells_how_many_of_its_row_are_less() -> None:
    ordered = np.array([[1.0, 2.0, 2.0, 5.0], [0.0, np.nan, np.nan, np.nan]])
    x = np.array([[0.0, 2.0, 2.1, 5.0, 9.0], [-1.0, 0.0, 1.0, 2.0, 3.0]])
    assert arrays.search(ordered, x).tolist() == [[0, 1, 3, 3, 4], [0, 0, 1, 1, 1]]
