from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from anomstack_provider.detection.seasonal.novelty import NEIGHBOURS, cross_fitted, distance
from anomstack_provider.detection.series import Floats

pytestmark = pytest.mark.filterwarnings("error")

# Whole numbers, so that many are equal.
elements = st.integers(-9, 9).map(float) | st.floats(-100, 100) | st.just(float("nan"))
rows = hnp.arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 30)), elements=elements)


def by_hand(references: Floats, x: float) -> float:
    near = np.sort(np.abs(references[np.isfinite(references)] - x))
    return float(near[NEIGHBOURS - 1]) if len(near) >= NEIGHBOURS and np.isfinite(x) else float("nan")


@given(rows, st.integers(1, 6))
def test_the_third_nearest_of_another_fold_is_found(x: Floats, folds: int) -> None:
    fold = np.arange(x.shape[1]) * folds // x.shape[1]
    theirs = [[by_hand(row[fold != fold[i]], value) for i, value in enumerate(row)] for row in x]
    np.testing.assert_array_equal(cross_fitted(x, fold)[0], theirs)


@given(hnp.arrays(np.float64, st.integers(0, 30), elements=st.integers(-9, 9).map(float)), rows)
def test_the_third_nearest_of_the_past_is_found(references: Floats, x: Floats) -> None:
    theirs = [by_hand(references, value) for value in x[0]]
    np.testing.assert_array_equal(distance(np.sort(references)[None], x[:1])[0], theirs)


def test_a_value_between_two_usual_ones_is_far_from_both() -> None:
    references = np.repeat([0.0, 10.0], 50)
    assert distance(references[None], np.array([[0.0, 5.0, 10.0, 12.0]])).tolist() == [[0, 5, 0, 2]]


def test_two_odd_values_of_the_past_do_not_make_a_third_one_usual() -> None:
    references = np.r_[np.zeros(50), 100.0, 100.0]
    assert distance(references[None], np.array([[100.0]]))[0] == 100
