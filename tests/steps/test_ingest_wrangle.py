from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from anomstack_provider.steps.ingest import IngestError, wrangle


def frame(**columns: object) -> pd.DataFrame:
    return pd.DataFrame(columns)


def one(timestamp: object, value: object = 1.0, name: object = "m") -> pd.DataFrame:
    return frame(metric_timestamp=[timestamp], metric_name=[name], metric_value=[value])


@pytest.mark.parametrize(
    "timestamp",
    [
        "2024-05-01T12:00:00",
        "2024-05-01 12:00:00",
        "2024-05-01T14:00:00+02:00",
        "2024-05-01T12:00:00Z",
        "May 1, 2024 12:00",
        dt.datetime(2024, 5, 1, 12),
        dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC),
        pd.Timestamp("2024-05-01 12:00"),
        pd.Timestamp("2024-05-01 14:00", tz="Europe/Berlin"),
        np.datetime64("2024-05-01T12:00"),
    ],
)
def test_a_time_in_any_form_is_utc_to_the_microsecond(timestamp: object) -> None:
    rows = wrangle(one(timestamp), 4).rows
    assert rows["metric_timestamp"].to_numpy()[0] == np.datetime64("2024-05-01T12:00:00", "us")
    assert rows["metric_timestamp"].dtype == "datetime64[us]"


def test_a_date_is_its_midnight() -> None:
    assert wrangle(one(dt.date(2024, 5, 1)), 4).rows["metric_timestamp"][0] == pd.Timestamp("2024-05-01")


def test_columns_may_be_in_any_case_and_order_and_more_than_needed() -> None:
    rows = wrangle(frame(EXTRA=[1], METRIC_VALUE=[2], Metric_Name=["m"], METRIC_TIMESTAMP=["2024-05-01"]), 4).rows
    assert rows["metric_value"].tolist() == [2.0]
    assert "extra" not in rows


def test_a_missing_column_is_named_with_those_there_are() -> None:
    with pytest.raises(IngestError, match="no column metric_value; it has metric_timestamp, metric_name, value"):
        wrangle(frame(metric_timestamp=["2024-05-01"], metric_name=["m"], value=[1]), 4)


def test_rows_without_a_value_are_left_out_and_counted() -> None:
    answer = wrangle(
        frame(metric_timestamp=["2024-05-01"] * 3, metric_name=["a", "b", "c"], metric_value=[1, None, float("nan")]), 4
    )
    assert (len(answer.rows), answer.empty, answer.refused) == (1, 2, {})


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (one("not a time", 1.0, "bad"), "row 1: metric_timestamp is not a time: not a time, 1.0"),
        (one(None, 1.0, "bad"), "row 1: metric_timestamp is not a time"),
        (one("2024-05-02", float("inf"), "bad"), "row 1: metric_value is infinite: 2024-05-02, inf"),
        (one("2024-05-02", "many", "bad"), "row 1: metric_value is not a number: 2024-05-02, 'many'"),
    ],
)
def test_a_wrong_row_is_refused_by_name_and_its_neighbours_are_kept(bad: pd.DataFrame, reason: str) -> None:
    answer = wrangle(pd.concat([bad, one("2024-05-01")], ignore_index=True), 4)
    assert answer.rows["metric_name"].tolist() == ["m"]
    assert answer.refused["bad"].startswith(reason)


def test_a_row_without_a_name_is_refused() -> None:
    answer = wrangle(frame(metric_timestamp=["2024-05-01"] * 2, metric_name=[None, " "], metric_value=[1, 2]), 4)
    assert answer.rows.empty
    assert answer.refused == {"(no name)": "row 1: metric_name is empty: 2024-05-01, 1"}


def test_of_rows_with_the_same_key_the_last_is_kept_and_the_others_counted() -> None:
    answer = wrangle(frame(metric_timestamp=["2024-05-01"] * 2, metric_name=["m"] * 2, metric_value=[1, 2]), 4)
    assert answer.rows["metric_value"].tolist() == [2.0]
    assert answer.duplicates == 1


def test_values_are_rounded_as_the_batch_says() -> None:
    assert wrangle(one("2024-05-01", 1.23456), 2).rows["metric_value"][0] == 1.23
    assert wrangle(one("2024-05-01", 1.23456), -1).rows["metric_value"][0] == 1.23456


def test_an_empty_answer_is_no_rows() -> None:
    assert wrangle(frame(metric_timestamp=[], metric_name=[], metric_value=[]), 4).rows.empty


def test_numbers_as_text_and_decimals_are_numbers() -> None:
    from decimal import Decimal

    rows = wrangle(
        frame(metric_timestamp=["2024-05-01"] * 2, metric_name=["a", "b"], metric_value=["1.5", Decimal("2.5")]), 4
    )
    assert rows.rows["metric_value"].tolist() == [1.5, 2.5]
