"""Synthetic metrics and NAB files: what the labels promise holds in the rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest

from benchmarks.detection import dataset, nab, synthetic
from benchmarks.detection.dataset import Dataset

Grain = Literal["hourly", "daily"]


@pytest.fixture(scope="module", params=["hourly", "daily"])
def metrics(request: pytest.FixtureRequest) -> Dataset:
    return synthetic.generate(request.param)


@pytest.mark.parametrize("grain", ["hourly", "daily"])
def test_a_seed_gives_the_same_bytes_and_another_seed_other_series(grain: Grain):
    one, again, test = synthetic.generate(grain), synthetic.generate(grain), synthetic.generate(grain, "test")
    pd.testing.assert_frame_equal(one.rows, again.rows, check_exact=True)
    assert one.labels == again.labels
    assert one.labels.keys() == test.labels.keys()
    assert all(one.labels[name] != test.labels[name] for name in one.labels)


def test_eight_series_of_each_family_of_the_promised_length(metrics: Dataset):
    families = pd.Series([label["family"] for label in metrics.labels.values()]).value_counts()
    assert families.to_dict() == dict.fromkeys(synthetic.FAMILIES, 8)
    days = 120 if "hourly" in metrics.name else 730
    spans = metrics.rows.groupby("series")["timestamp"].agg(["min", "max"])
    assert set(spans["max"] - spans["min"] + metrics.step) == {pd.Timedelta(days=days)}


def test_events_lie_in_the_judged_part_apart_and_followed_by_an_ignored_recovery(metrics: Dataset):
    ends = metrics.rows.groupby("series")["timestamp"].max()
    kinds = set()
    for name, label in metrics.labels.items():
        before = pd.Timestamp(label["score_from"])
        assert 3 <= len(label["events"]) <= 6
        for (begin, end, kind), ignored in zip(label["events"], label["ignore"], strict=True):
            assert before < pd.Timestamp(begin) <= pd.Timestamp(end) <= ends[name]
            assert ignored[0] == begin
            assert pd.Timestamp(ignored[1]) > pd.Timestamp(end)
            before = pd.Timestamp(ignored[1])
            kinds.add(kind)
    assert kinds == {"spike", "dip", "level", "flat", "season", "drift"}


def test_flat_lines_are_flat_and_spikes_and_dips_leave_their_surroundings(metrics: Dataset):
    left, spikes = [], 0
    for name, label in metrics.labels.items():
        values = metrics.rows[metrics.rows["series"] == name].set_index("timestamp")["value"]
        for begin, end, kind in label["events"]:
            inside = values[pd.Timestamp(begin) : pd.Timestamp(end)]
            if kind == "flat":
                assert inside.nunique() <= 1
            elif kind in ("spike", "dip") and len(inside) and label["family"] != "counts_low":
                week = pd.Timedelta(days=7)
                same_slot = [values.get(inside.index[0] + k * week, np.nan) for k in (-2, -1, 1, 2)]
                change = inside.iloc[0] / np.nanmedian(same_slot)
                left.append(change > 1.1 if kind == "spike" else change < 0.9)
                spikes += 1
    assert spikes > 20
    assert np.mean(left) > 0.85


def test_values_are_those_of_their_family(metrics: Dataset):
    families = {name: label["family"] for name, label in metrics.labels.items()}
    values = metrics.rows.groupby(metrics.rows["series"].map(families))["value"]
    assert (values.min() >= 0).all()
    assert values.max()["rate"] <= 1
    assert all((values.get_group(name) % 1 == 0).all() for name in ("traffic", "counts_low"))
    assert values.median()["counts_low"] < 15


def test_some_buckets_are_missing_and_none_twice(metrics: Dataset):
    rows = metrics.rows
    assert not rows.duplicated(["series", "timestamp"]).any()
    full = rows.groupby("series").size().max()
    gaps = full - rows.groupby("series").size()
    assert 0.25 < (gaps > 0).mean() < 0.75
    assert gaps.max() < 0.06 * full


def test_holidays_are_normal_and_quieter_in_all_series_of_a_family():
    metrics = synthetic.generate("daily")
    traffic = metrics.rows[metrics.rows["series"].str.contains("traffic")]
    values = traffic.pivot_table(index="timestamp", columns="series", values="value")
    usual = values.rolling(29, center=True, min_periods=10).median()
    by_date = np.log((values / usual).where(values > 0)).median(axis=1)
    by_date = by_date.groupby([by_date.index.month, by_date.index.day]).mean()
    assert (by_date < -0.12).sum() >= 3


def test_head_takes_series_evenly_over_families_and_batches_share_their_period(metrics: Dataset):
    few = metrics.head(12)
    assert pd.Series([label["family"] for label in few.labels.values()]).value_counts().tolist() == [2] * 6
    assert set(few.rows["series"]) == set(few.labels)
    pd.testing.assert_frame_equal(few.rows, metrics.part(list(few.labels)).rows)
    batches = metrics.batches()
    assert sorted(name for batch in batches for name in batch.labels) == sorted(metrics.labels)
    assert all(len({label["score_from"] for label in batch.labels.values()}) == 1 for batch in batches)
    assert len(batches) <= 8


def test_nab_is_read_from_a_checkout_and_from_a_plain_folder(tmp_path: Path):
    times = pd.date_range("2014-02-14 14:30", periods=100, freq="5min")
    frame = pd.DataFrame({"timestamp": times, "value": range(100)})
    windows = {"realTweets/a.csv": [["2014-02-14 16:00:00.000000", "2014-02-14 17:00:00.000000"]]}
    for data, labels in ((tmp_path / "checkout" / "data", tmp_path / "checkout" / "labels"), (tmp_path / "plain",) * 2):
        (data / "realTweets").mkdir(parents=True)
        labels.mkdir(parents=True, exist_ok=True)
        frame.to_csv(data / "realTweets" / "a.csv", index=False)
        (labels / "combined_windows.json").write_text(json.dumps(windows))
    for root in ("checkout", "plain"):
        found = nab.read(tmp_path / root)
        assert found.labels == {
            "realTweets/a.csv": {
                "step_s": 300.0,
                "score_from": times[15].isoformat(),
                "family": "realTweets",
                "events": [["2014-02-14T16:00:00", "2014-02-14T17:00:00", "nab"]],
                "ignore": [],
            }
        }
        assert found.rows["value"].tolist() == list(range(100))
        assert found.schedule == "*/5 * * * *"
    with pytest.raises(FileNotFoundError, match=r"combined_windows\.json"):
        nab.read(tmp_path)


def test_of_rows_with_one_key_the_last_counts():
    rows = pd.DataFrame({"series": "a", "timestamp": ["2024-01-02", "2024-01-01", "2024-01-01"], "value": [1, 2, 3]})
    assert dataset.tidy(rows)["value"].tolist() == [3, 1]


def test_a_prefix_names_rows_and_labels(tmp_path: Path):
    data = synthetic.generate("daily").head(2)
    data.rows.to_csv(tmp_path / "mine.csv.gz", index=False)
    (tmp_path / "mine_labels.json").write_text(json.dumps(dict(data.labels)))
    found = dataset.read(tmp_path / "mine")
    assert found.labels == data.labels
    pd.testing.assert_frame_equal(found.rows, data.rows)
