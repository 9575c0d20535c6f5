from __future__ import annotations

import numpy as np

from anomstack_provider.alerting.thresholds import limits, sides
from anomstack_provider.config.keys import Threshold


def test_a_value_at_a_bound_is_within() -> None:
    values = np.array([9.99, 10, 15, 20, 20.01, np.nan])
    assert sides(values, Threshold(lower=10, upper=20)).tolist() == [-1, 0, 0, 0, 1, 0]
    assert sides(values, Threshold(upper=20)).tolist() == [0, 0, 0, 0, 1, 0]
    assert sides(values, Threshold(lower=10)).tolist() == [-1, 0, 0, 0, 0, 0]
    assert sides(np.array([-1e308, 0, 1e308]), Threshold(lower=0, upper=0)).tolist() == [-1, 0, 1]


def test_an_open_end_is_nan() -> None:
    assert limits(Threshold(lower=0, upper=5)) == (0, 5)
    assert np.isnan(limits(Threshold(upper=5))[0])
    assert np.isnan(limits(Threshold(lower=5))[1])
