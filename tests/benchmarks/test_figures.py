"""The figures by hand on a small table, and, where the shared yardstick is present, equal to the yardstick's."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.detection import nab, nab_score, synthetic
from benchmarks.detection.figures import Figures, Summary, at_budget, figures, intervals, widest_border
from benchmarks.detection.judged import judge
from benchmarks.detection.precision_recall import auc_pr, vus_pr

SHARED = Path(__file__).parents[3] / "shared"


# --- by hand ---------------------------------------------------------------------------------------------------------


def table(scores: dict[str, list[float]], alerted: dict[str, list[int]] | None = None) -> pd.DataFrame:
    """Daily buckets from 2024-01-01."""
    frames = []
    for name, values in scores.items():
        times = pd.date_range("2024-01-01", periods=len(values), freq="D")
        frame = pd.DataFrame({"series": name, "timestamp": times, "score": values})
        frames.append(frame if alerted is None else frame.assign(alerted=alerted[name]))
    return pd.concat(frames)


def label(events: list[tuple[int, int]], ignore: list[tuple[int, int]] = (), start: int = 1) -> Any:  # type: ignore[assignment]
    """Spans in days of January."""

    def day(number: int) -> str:
        return f"2024-01-{number:02d}"

    return {
        "step_s": 86_400.0,
        "score_from": day(start),
        "family": "f",
        "events": [[day(a), day(b), "spike"] for a, b in events],
        "ignore": [[day(a), day(b)] for a, b in ignore],
    }


def test_budget_by_hand():
    # Days 1 to 30: one month. Event on days 10-12, ignored to day 14.
    scores = [0.0] * 30
    scores[10] = 5.0  # day 11: found with a delay of one bucket
    scores[13] = 9.0  # day 14: ignored
    scores[19] = 7.0  # day 20: false
    scores[20] = 8.0  # day 21: silent at a threshold of 7, one day after the last
    scores[24] = 3.0  # day 25: false
    judged = judge(table({"a": scores}), {"a": label([(10, 12)], [(10, 14)])})

    threshold, found = at_budget(judged, 1)
    assert threshold == 5.0
    assert found == Summary(1.0, 0.5, 1.0, 1.0, 1, {"spike": 1.0})
    assert at_budget(judged, 0.5) == (
        9.0,
        Summary(0.0, 0.0, 0.0, pytest.approx(np.nan, nan_ok=True), 1, {"spike": 0.0}),
    )


def test_a_budget_that_ties_break_means_no_alert():
    judged = judge(table({"a": [1.0] * 30}), {"a": label([(10, 12)])})
    threshold, found = at_budget(judged, 1)
    assert threshold > 1.0
    assert found.recall == 0


def test_realised_judges_the_alerted_column_alone_and_only_after_the_start():
    alerted = [0] * 30
    alerted[2] = 1  # before the start
    alerted[11] = alerted[12] = 1  # in the event, twice
    alerted[20] = 1
    labels = {"a": label([(10, 14)], start=6)}
    found = figures(judge(table({"a": [0.0] * 30}, {"a": alerted}), labels))
    assert found.realised == Summary(1.0, 0.5, pytest.approx(30 / 25), 2.0, 1, {"spike": 1.0})
    assert found.false_by_family == {"f": pytest.approx(30 / 25)}


def test_auc_pr_by_hand():
    # Ranked: hit, miss, hit; two event days. Precision 1 at recall 1/2, 2/3 at recall 1.
    (judged,) = judge(table({"a": [9, 8, 7, 1, 0, 99]}), {"a": label([(1, 1), (3, 3)], [(6, 6)])})
    assert auc_pr(judged) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_nab_by_hand():
    # A window of ten days, found on its first day: the full reward.
    scores = [0.0] * 31
    scores[10] = 2.0

    def standard(*, deduped: bool) -> float:
        labels = {"a": label([(11, 20)])}
        return nab_score.nab(judge(table({"a": scores}), labels), "standard", deduped=deduped)

    assert standard(deduped=False) == pytest.approx(100)
    # A false positive before it costs 0.11.
    scores[4] = 3.0
    assert standard(deduped=False) == pytest.approx(50 * (2 - 0.11))
    # Deduped, day 11 is no news after day 5, and the best is to say nothing.
    assert standard(deduped=True) == 0
    # The first score of all is news.
    scores[:10] = [np.nan] * 10
    assert standard(deduped=True) == pytest.approx(100)


def vus_by_the_book(score: list[float], hard: list[int], widest: int) -> float:
    """The definition, one threshold and one point at a time."""
    count, areas = len(score), []
    for width in range(widest + 1):
        soft = np.array(hard, float)
        for i in range(count):
            for j in range(count):
                is_begin = hard[j] and (j == 0 or not hard[j - 1])
                is_end = hard[j] and (j == count - 1 or not hard[j + 1])
                if not hard[i] and abs(i - j) <= width // 2 and ((i < j and is_begin) or (i > j and is_end)):
                    soft[i] += np.sqrt(1 - abs(i - j) / width)
        soft = np.minimum(soft, 1)
        ranges, inside = [], False
        for i in range(count):
            if soft[i] > 0 and not inside:
                ranges.append([])
            if inside := soft[i] > 0:
                ranges[-1].append(i)
        area = recall_before = 0.0
        for threshold in sorted(set(score), reverse=True):
            predicted = [i for i in range(count) if score[i] >= threshold]
            hits = soft[predicted].sum()
            touched = sum(bool(set(r) & set(predicted)) for r in ranges) / len(ranges)
            recall = min(hits / ((sum(hard) + soft.sum()) / 2), 1) * touched
            area += (recall - recall_before) * hits / len(predicted)
            recall_before = recall
        areas.append(area)
    return float(np.mean(areas))


@pytest.mark.parametrize("seed", range(5))
def test_vus_pr_is_its_definition(seed: int):
    rng = np.random.default_rng(seed)
    score = rng.integers(0, 12, 30).tolist()
    labels = {"a": label([(5, 8), (14, 14), (17, 20), (30, 30)])}
    (judged,) = judge(table({"a": score}), labels)
    assert vus_pr(judged, 9) == pytest.approx(vus_by_the_book(score, judged.in_event.astype(int).tolist(), 9))


def test_a_perfect_score_has_full_areas_and_the_borders_forgive_a_near_miss():
    labels = {"a": label([(10, 13)])}
    perfect = [float(10 <= day <= 13) for day in range(1, 31)]
    late = [float(12 <= day <= 15) for day in range(1, 31)]
    (exact,), (missed,) = judge(table({"a": perfect}), labels), judge(table({"a": late}), labels)
    assert auc_pr(exact) == vus_pr(exact, 0) == 1
    assert vus_pr(missed, 8) > vus_pr(missed, 0) == pytest.approx(auc_pr(missed))


def test_borders_of_vus():
    assert [widest_border(step) for step in (300, 1800, 3600, 86_400)] == [100, 48, 24, 7]


def random_table(rng: np.random.Generator, ties: bool) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Some series of our generator with scores that follow their events loosely, some of them missing."""
    data = synthetic.generate("hourly").head(7)
    rows = data.rows[["series", "timestamp"]].copy()
    rows["score"] = rng.gumbel(size=len(rows))
    for name, one in data.labels.items():
        for begin, end, _ in one["events"]:
            inside = (rows["series"] == name) & rows["timestamp"].between(pd.Timestamp(begin), pd.Timestamp(end))
            rows.loc[inside, "score"] += rng.uniform(0, 6)
        if rng.random() < 0.5:  # scored from the start on only, and high at once
            start, own = pd.Timestamp(one["score_from"]), rows["series"] == name
            rows.loc[own & (rows["timestamp"] < start), "score"] = np.nan
            rows.loc[own & (rows["timestamp"] == start), "score"] = 9.0
    if ties:
        rows["score"] = rows["score"].clip(upper=5).round(1)
    rows.loc[rng.random(len(rows)) < 0.02, "score"] = np.nan
    rows["alerted"] = (rows["score"] > 4.5).astype(int)
    return rows, dict(data.labels)


def test_intervals_hold_the_figures_and_follow_the_seed():
    judged = judge(*random_table(np.random.default_rng(3), ties=False))
    found, ranges = figures(judged), intervals(judged, rounds=200)
    assert ranges == intervals(judged, rounds=200)
    for name, value in {
        "recall 1": found.budgets[1.0].recall,
        "auc_pr": found.auc_pr,
        "vus_pr": found.vus_pr,
        "nab deduped": found.nab["standard", "deduped"],
        "realised": found.realised.false_per_month if found.realised else np.nan,
    }.items():
        low, high = ranges[name]
        assert low <= value + 0.02 * abs(value)
        assert value <= high + 0.02 * abs(value)
        assert low < high


def test_each_labelled_series_must_have_scores():
    with pytest.raises(ValueError, match="every series counts"):
        judge(table({"a": [0.0] * 9}), {"a": label([]), "b": label([])})


# --- beside the yardstick --------------------------------------------------------------------------------------------


def yardstick_figures(rows: pd.DataFrame, labels: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What shared/tools/score_detection.py says, called as its own main does."""
    import json

    spec = importlib.util.spec_from_file_location("yardstick", SHARED / "tools" / "score_detection.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    rows.to_csv(folder / "scores.csv", index=False)
    (folder / "labels.json").write_text(json.dumps(labels))
    series = tool.load(str(folder / "scores.csv"), str(folder / "labels.json"))
    out = {"auc_pr": tool.auc_pr(series), **{f"{b:g}": tool.at_budget(series, b) for b in (1.0, 0.25, 0.1)}}
    for profile, weights in nab_score.PROFILES.items():
        for kind in ("raw", "deduped"):
            out[profile, kind] = tool.nab(series, *weights, kind == "deduped")
    if "alerted" in rows:
        out["realised"] = tool.summary(
            series, [np.flatnonzero(s.alerted & (np.arange(len(s.t)) >= s.start)) for s in series]
        )
    return out


def assert_same(ours: Figures, theirs: dict[str, Any]) -> None:
    rounded = 5.1e-4
    assert ours.auc_pr == pytest.approx(theirs["auc_pr"], abs=rounded)
    summaries = {f"{budget:g}": found for budget, found in ours.budgets.items()}
    if ours.realised is not None:
        summaries["realised"] = ours.realised
    for name, found in summaries.items():
        expected = theirs[name]
        assert found.events == expected["events"]
        assert found.recall == pytest.approx(expected["recall"], abs=rounded)
        assert found.precision == pytest.approx(expected["precision"], abs=rounded)
        assert found.false_per_month == pytest.approx(expected["false_per_30d"], abs=rounded)
        assert found.recall_by_kind == pytest.approx(expected["by_kind"], abs=5.1e-3)
        delay = np.nan if expected["delay_buckets"] is None else expected["delay_buckets"]
        assert found.delay == pytest.approx(delay, nan_ok=True)
    for key, value in ours.nab.items():
        assert value == pytest.approx(theirs[key], abs=5.1e-2)


def yardstick_tables() -> dict[str, tuple[pd.DataFrame, dict[str, Any]]]:
    """Score tables to compare on: none where the shared files are absent, so that nothing is skipped."""
    if not (SHARED / "tools" / "score_detection.py").exists():
        return {}
    from benchmarks.detection import dataset
    from benchmarks.detection.run import baseline

    tables = {
        "random": random_table(np.random.default_rng(0), ties=False),
        "ties": random_table(np.random.default_rng(1), ties=True),
    }
    without = random_table(np.random.default_rng(2), ties=True)
    tables["no alerted column"] = (without[0].drop(columns="alerted"), without[1])
    for data in (nab.read(SHARED / "data" / "nab_dev"), dataset.read(SHARED / "data" / "synthetic_dev" / "daily")):
        tables[data.name] = (baseline("EWMA chart", data), dict(data.labels))
    return tables


def test_same_as_the_yardstick_where_it_is_present(tmp_path: Path):
    for rows, labels in yardstick_tables().values():
        assert_same(figures(judge(rows, labels)), yardstick_figures(rows, labels, tmp_path))
