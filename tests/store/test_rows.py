"""What may be written, and the errors for what may not."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomstack_provider.store.errors import RowsRefused
from anomstack_provider.store.rows import COLUMNS, checked_rows, read_frame

AT = [datetime(2024, 1, 1, hour) for hour in range(3)]


def good(frame):
    return frame([("revenue", "metric", time, 1.0) for time in AT])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_not_finite_is_refused_with_metric_and_time(frame, value):
    rows = good(frame)
    rows.loc[1, "metric_value"] = value
    with pytest.raises(RowsRefused, match=r"1 of 3 rows.*'revenue' \(metric\) at 2024-01-01 01:00:00.*finite"):
        checked_rows(rows)


def test_a_missing_time_is_refused_with_the_metric(frame):
    rows = good(frame)
    rows.loc[2, "metric_timestamp"] = pd.NaT
    with pytest.raises(RowsRefused, match=r"'revenue' \(metric\) at NaT: it has no time"):
        checked_rows(rows)


def test_a_key_given_twice_is_refused_and_named(frame):
    rows = frame([("a", "metric", AT[0], 1.0), ("revenue", "score", AT[1], 1.0), ("revenue", "score", AT[1], 2.0)])
    with pytest.raises(RowsRefused, match=r"'revenue' \(score\) at 2024-01-01 01:00:00: its key is given twice"):
        checked_rows(rows)


def test_times_that_differ_below_a_microsecond_are_the_same_key(frame):
    rows = good(frame).iloc[:2].copy()
    rows["metric_timestamp"] = np.array(["2024-01-01T00:00:00.000000001", "2024-01-01T00:00:00.000000002"], "M8[ns]")
    with pytest.raises(RowsRefused, match="given twice"):
        checked_rows(rows)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop(columns="metadata"), r"expected exactly \['metric_name'"),
        (lambda rows: rows.assign(extra=1), r"columns \[.*'extra'\], expected exactly"),
        (lambda rows: rows.assign(metric_value="1"), "metric_value has the type .*, expected float64"),
        (lambda rows: rows.assign(metric_timestamp="2024-01-01"), "metric_timestamp has the type .*datetime64"),
        (lambda rows: rows.assign(metric_name=[1, 2, 3]), "metric_name must be text"),
        (lambda rows: rows.assign(metric_name=["a", None, "b"]), "metric_name must be text"),
        (lambda rows: rows.assign(metric_type=None), "metric_type must be text"),
        (lambda rows: rows.assign(metadata=[{"a": 1}, None, None]), "metadata must be text or None"),
    ],
)
def test_wrong_columns_and_types_are_refused(frame, change, message):
    with pytest.raises(RowsRefused, match=message):
        checked_rows(change(good(frame)))


def test_aware_times_nanoseconds_and_whole_numbers_are_taken(frame):
    rows = good(frame)
    rows["metric_timestamp"] = pd.to_datetime(rows["metric_timestamp"]).dt.tz_localize("America/New_York")
    rows["metric_value"] = [1, 2, 3]
    rows.index = [7, 7, 7]

    taken = checked_rows(rows[sorted(rows.columns)])

    assert taken["metric_timestamp"].dtype == np.dtype("datetime64[us]")
    assert taken["metric_timestamp"][0] == datetime(2024, 1, 1, 5, tzinfo=UTC).replace(tzinfo=None)
    assert taken["metric_value"].tolist() == [1.0, 2.0, 3.0]
    assert list(taken.index) == [0, 1, 2]


def test_of_rows_with_the_same_key_the_last_is_kept():
    columns = {
        "metric_name": ["a", "a", "a", "b"],
        "metric_type": ["metric", "metric", "score", "score"],
        "metric_timestamp": [AT[0]] * 4,
        "metric_value": [1.0, 2.0, 3.0, None],
        "metadata": ["x", None, None, None],
    }
    assert read_frame(columns)["metric_value"].tolist()[:2] == [2.0, 3.0]
    assert read_frame(columns)["metadata"].tolist() == [None, None, None]
    assert np.isnan(read_frame(columns)["metric_value"].iloc[2])


@given(
    st.lists(
        st.tuples(st.text(max_size=5), st.sampled_from(["metric", "score"]), st.integers(0, 3), st.floats()),
        max_size=12,
    )
)
def test_rows_are_taken_exactly_when_finite_and_unique(rows):
    frame = pd.DataFrame(
        [(name, kind, AT[0].replace(minute=minute), value, None) for name, kind, minute, value in rows],
        columns=COLUMNS,
    ).astype({"metric_timestamp": "datetime64[us]", "metric_value": "float64", "metadata": object})
    good = all(np.isfinite(row[3]) for row in rows) and len({row[:3] for row in rows}) == len(rows)
    if good:
        taken = checked_rows(frame)
        assert taken["metric_value"].tolist() == [row[3] for row in rows]
        assert taken["metric_name"].tolist() == [row[0] for row in rows]
    else:
        with pytest.raises(RowsRefused):
            checked_rows(frame)
