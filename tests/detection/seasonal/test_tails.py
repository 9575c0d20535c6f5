from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomstack_provider.detection.seasonal import tails
from anomstack_provider.detection.seasonal.tails import Tails

pytestmark = pytest.mark.filterwarnings("error")


def of_one(number: st.SearchStrategy[float]) -> st.SearchStrategy[np.ndarray]:
    return number.map(lambda value: np.array([value]))


a_tail = st.builds(
    Tails,
    start=of_one(st.floats(-100, 100)),
    surprise=of_one(st.floats(0, 5)),
    scale=of_one(st.floats(1e-6, 1e6)),
    weight=of_one(st.floats(0.5, 1e4)),
)


@given(a_tail, st.floats(-20, 60))
def test_a_value_and_its_surprise_are_inverse(tail: Tails, wanted: float) -> None:
    value = tail.value_at(wanted)
    # As near as the value itself can tell, which is far coarser than the scale where the start is large.
    coarse = abs(tail.start) * 1e-12 / tail.scale
    if (wanted - tail.surprise) / tail.weight < 30:
        np.testing.assert_allclose(tail.surprise_of(value[:, None])[0], wanted, rtol=1e-6, atol=float(1e-6 + coarse[0]))


@given(a_tail)
def test_a_larger_value_is_a_larger_surprise_without_end(tail: Tails) -> None:
    x = tail.start + tail.scale * np.r_[-1e3, -1, 0, 1, 10, 1e2, 1e4, 1e8, 1e16, 1e32]
    found = tail.surprise_of(x[None])[0]
    assert np.isfinite(found).all()
    assert (np.diff(found) >= 0).all()
    assert (np.diff(found[4:]) > 0).all()


def test_the_tail_of_an_exponential_sample_is_recovered() -> None:
    sample = np.random.default_rng(0).exponential(3.0, (20, 5000))
    found = tails.fit(sample, 0.9, 1e-9)
    np.testing.assert_allclose(found.scale.mean(), 3.0, rtol=0.05)
    np.testing.assert_allclose(found.surprise, np.log(10), rtol=0.01)
    # One in a thousand.
    np.testing.assert_allclose(found.value_at(np.log(1e3)), 3 * np.log(1e3), rtol=0.2)


def test_new_values_are_as_seldom_as_is_said() -> None:
    rng = np.random.default_rng(1)
    found = tails.fit(rng.exponential(1.0, (2000, 60)), 0.5, 1e-9)
    later = rng.exponential(1.0, (2000, 50))
    for wanted in (2.0, 3.0, 5.0):
        share = (found.surprise_of(later) >= wanted).mean()
        assert 0.7 < share / np.exp(-wanted) < 1.4


def test_anomalies_in_the_sample_change_the_tail_little() -> None:
    sample = np.random.default_rng(2).exponential(1.0, (1, 1000))
    poisoned = sample.copy()
    poisoned[0, ::50] = 1e12  # 20 of the 100 that make the tail
    clean, other = tails.fit(sample, 0.9, 1e-9), tails.fit(poisoned, 0.9, 1e-9)
    assert clean.scale < other.scale < 2 * clean.scale


def test_gaps_count_for_nothing_and_few_values_make_no_tail() -> None:
    rng = np.random.default_rng(3)
    sample = rng.exponential(1.0, (1, 200))
    gappy = np.full((1, 400), np.nan)
    gappy[0, np.sort(rng.permutation(400)[:200])] = sample[0]
    assert tails.fit(gappy, 0.9, 1e-9) == tails.fit(sample, 0.9, 1e-9)
    assert np.isnan(tails.fit(sample[:, :4], 0.9, 1e-9).scale).all()
    assert np.isfinite(tails.fit(sample[:, :5], 0.9, 1e-9).scale).all()


def test_a_sample_of_one_value_has_the_least_scale() -> None:
    tail = tails.fit(np.full((1, 100), 4.0), 0.9, 0.25)
    assert (tail.start, tail.scale) == (4.0, 0.25)
