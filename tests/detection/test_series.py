"""Rows become series."""

from __future__ import annotations

import numpy as np
import pandas as pd

from anomstack_provider.detection.series import split


def test_a_row_without_a_finite_value_is_no_point() -> None:
    times = pd.date_range("2024-01-01", periods=3, freq="1h")
    frame = pd.DataFrame(
        {
            "metric_name": ["a"] * 3 + ["b"] * 3,
            "metric_timestamp": [*times, *times],
            "metric_value": [1.0, np.nan, 3.0, np.inf, -np.inf, np.nan],
        }
    )

    series = split(frame)

    assert list(series) == ["a"]
    assert series["a"].values.tolist() == [1.0, 3.0]
    assert series["a"].times.tolist() == [times[0].to_pydatetime(), times[2].to_pydatetime()]
