from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomstack_provider.artifacts.serialization import dumps, loads
from anomstack_provider.config.spec import ModelConfig, PreprocessParams
from anomstack_provider.detection import detectors, pipeline, series_detectors
from anomstack_provider.detection.grain import INSTANT, Grain, parse
from anomstack_provider.detection.series import Series
from anomstack_provider.detection.series_detector import LEAST_ROWS, SeriesDetector
from anomstack_provider.detection.series_detectors import (
    FlatLine,
    SeasonalResidual,
    SlotNeighbours,
    SlowDrift,
    WindowNeighbours,
)

CLASSES = [FlatLine, SeasonalResidual, SlotNeighbours, SlowDrift, WindowNeighbours]
HOUR, DAY = 3_600_000_000, 86_400_000_000
START = 1_704_067_200_000_000  # Monday, 2024-01-01
each = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def rows(values: Any, step: int = HOUR) -> np.ndarray:
    return np.column_stack([START + np.arange(len(values)) * step, np.asarray(values, np.float64)])


def daily_wave(n: int, seed: int = 0) -> np.ndarray:
    return 100 + 40 * np.sin(np.arange(n) / 24 * 2 * np.pi) + np.random.default_rng(seed).normal(0, 2, n)


def gappy(n: int, seed: int = 0) -> np.ndarray:
    """An hourly series with single gaps, an outage and some values that repeat."""
    rng = np.random.default_rng(seed)
    values = daily_wave(n, seed).round()
    keep = rng.random(n) > 0.1
    keep[n // 2 : n // 2 + 60] = False
    return rows(values)[keep]


def jittery(n: int, seed: int = 0) -> np.ndarray:
    """Readings at nearly even times, some of which fall into the bucket of the one before."""
    rng = np.random.default_rng(seed)
    times = START + np.arange(n) * HOUR + rng.integers(0, HOUR // 20, n)
    extra = rng.choice(n, 8, replace=False)
    times = np.unique(np.concatenate([times, times[extra] + HOUR // 4]))
    return np.column_stack([times, 100 + rng.normal(0, 3, len(times)).round()])


def irregular(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.column_stack([START + np.cumsum(rng.integers(1, 5 * HOUR, n)), rng.normal(100, 5, n)])


KINDS = {"hourly": lambda n: rows(daily_wave(n)), "gaps": gappy, "jitter": jittery, "irregular": irregular}


# All but the one that needs a season: irregular readings have none.
each_on_each = pytest.mark.parametrize(
    ("cls", "kind"),
    [(cls, kind) for cls in CLASSES for kind in KINDS if (cls, kind) != (SlotNeighbours, "irregular")],
)


def prepared(cls: type[SeriesDetector], kind: str, n: int = 1200) -> tuple[SeriesDetector, np.ndarray]:
    data = KINDS[kind](n)
    return cls().fit(data[: len(data) * 2 // 3]), data


def test_the_names_are_the_classes() -> None:
    found = {
        name
        for name, cls in vars(series_detectors).items()
        if inspect.isclass(cls) and issubclass(cls, SeriesDetector) and not inspect.isabstract(cls) and name[0] != "_"
    }
    assert found == detectors.SERIES == {cls.__name__ for cls in CLASSES}
    assert detectors.detector_class("FlatLine") is FlatLine
    with pytest.raises(detectors.UnknownDetector, match="close: SlowDrift"):
        detectors.build("SlowDrifts", {})
    with pytest.raises(ValueError, match=r"takes no parameter 'windows'; it takes .*window"):
        detectors.build("WindowNeighbours", {"windows": 3})


@each_on_each
def test_nothing_after_a_row_changes_its_score(cls: type[SeriesDetector], kind: str) -> None:
    model, data = prepared(cls, kind)
    cut = len(data) - 60
    before = model.decision_function(data)
    seen = False
    for change in (lambda v: v * 0 + 1e12, lambda v: -v[::-1], lambda v: v * 0 + data[cut - 1, 1]):
        changed = data.copy()
        changed[cut:, 1] = change(changed[cut:, 1])
        after = model.decision_function(changed)
        assert np.array_equal(after[:cut], before[:cut])
        seen |= not np.array_equal(after[cut:], before[cut:])
    assert seen
    assert np.array_equal(model.decision_function(data[:cut]), before[:cut])


@each_on_each
def test_a_row_scores_the_same_alone_or_among_others_to_the_bit(cls: type[SeriesDetector], kind: str) -> None:
    model, data = prepared(cls, kind)
    together = model.decision_function(data)
    checked = np.arange(max(model.reach, len(data) // 2 - 40), len(data), 3)
    alone = [model.decision_function(data[i - model.reach : i + 1])[-1] for i in checked]
    assert np.array_equal(together[checked], alone)


@each_on_each
def test_what_is_loaded_scores_as_what_was_saved(cls: type[SeriesDetector], kind: str) -> None:
    model, data = prepared(cls, kind)
    loaded: Any = loads(dumps(model))
    assert type(loaded) is cls
    assert loaded.reach == model.reach
    assert np.array_equal(loaded.decision_function(data), model.decision_function(data))


@each
def test_training_sets_what_pyod_promises(cls: type[SeriesDetector]) -> None:
    data = rows(daily_wave(600))
    model = cls(contamination=0.05).fit(data)
    assert model.decision_scores_.shape == model.labels_.shape == (600,)
    assert model.predict(data).shape == (600,)
    assert model.predict_proba(data).shape == (600, 2)
    assert model.labels_.mean() <= 0.05
    assert cls(**model.get_params()).fit(data).threshold_ == model.threshold_


def test_seasonal_residual_finds_what_is_usual_at_another_hour_only() -> None:
    data = rows(daily_wave(1000))
    night = 24 * 40 + 18
    data[night, 1] = 140.0  # the value of the peak hour, twelve hours off
    model = SeasonalResidual().fit(data[:900])
    scores = model.decision_function(data)
    assert scores[night] == scores.max() > 15
    assert np.median(scores[900:]) < 1.5


def test_seasonal_residual_knows_weekdays_and_days_of_the_month() -> None:
    day = np.arange(400)
    rng = np.random.default_rng(0)
    week = 100 + 50 * (day % 7 < 5) + rng.normal(0, 2, 400)
    scores = SeasonalResidual().fit(rows(week, DAY)[:300]).decision_function(rows(week, DAY))
    assert scores[300:].max() < 6
    dates = np.datetime64("2024-01-01") + day
    first = dates == dates.astype("datetime64[M]").astype("datetime64[D]")
    payday = 100 + 80 * first + rng.normal(0, 2, 400)
    scores = SeasonalResidual().fit(rows(payday, DAY)[:300]).decision_function(rows(payday, DAY))
    assert scores[300:].max() < 8
    payday[350] += 80
    assert SeasonalResidual().fit(rows(payday, DAY)[:300]).decision_function(rows(payday, DAY))[350] > 20


def test_slot_neighbours_find_a_change_since_yesterday_and_only_that() -> None:
    data = rows(daily_wave(1000))
    data[950, 1] += 25
    model = SlotNeighbours().fit(data[:900])
    scores = model.decision_function(data)
    assert model.reach == 26
    assert scores[950] == scores.max()
    assert scores[950] > 5 * model.threshold_
    assert scores[974] > model.threshold_, "the echo that the docstring states"


def test_slot_neighbours_take_the_week_where_it_explains_more() -> None:
    hours = np.arange(24 * 7 * 8)
    rng = np.random.default_rng(0)
    values = 100 + 5 * (hours // 24 % 7) ** 2 + rng.normal(0, 1, len(hours))
    model = SlotNeighbours().fit(rows(values))
    assert model.reach == 7 * 24 + 2
    daily = SlotNeighbours().fit(rows(values[::24], DAY))
    assert daily.reach == 7


def test_slot_neighbours_follow_the_clock_when_it_changes() -> None:
    times = pd.date_range("2024-02-15", "2024-05-01", freq="1h", tz="Europe/Berlin", unit="us")
    values = 1000.0 * (times.hour == 3) + np.random.default_rng(0).normal(0, 1, len(times))
    data = np.column_stack([times.tz_convert("UTC").tz_localize(None).to_numpy().astype(np.int64), values])
    before = times < pd.Timestamp("2024-03-31", tz="Europe/Berlin")
    local = SlotNeighbours(timezone="Europe/Berlin").fit(data[before])
    elapsed = SlotNeighbours(timezone="UTC").fit(data[before])
    assert local.decision_function(data).max() < 10
    assert elapsed.decision_function(data).max() > 100


def test_window_neighbours_find_a_shape_of_usual_values() -> None:
    data = rows(daily_wave(1000))
    data[940:960, 1] = data[940:960, 1][::-1]  # each value is usual
    data[960:970, 1] = np.where(np.arange(10) % 2, 140.0, 60.0)
    model = WindowNeighbours().fit(data[:900])
    scores = model.decision_function(data)
    assert scores[960:975].max() > 3 * model.decision_scores_.max()
    assert scores[:930].max() <= model.decision_scores_.max()


def test_windows_that_overlap_in_time_do_not_vouch_for_each_other() -> None:
    data = rows(daily_wave(600))
    data[300:320, 1] = 500.0  # a stretch whose windows are alike
    model = WindowNeighbours(window=24, neighbours=1).fit(data)
    assert model.decision_scores_[319] > 10 * np.median(model.decision_scores_)


def test_flat_line_finds_a_value_that_stopped_moving() -> None:
    data = rows(daily_wave(1000))
    data[950:960, 1] = data[950, 1]
    model = FlatLine().fit(data[:900])
    scores = model.decision_function(data)
    assert scores[:952].max() < 0.01
    assert (np.diff(scores[951:960]) > 0).all()
    assert scores[960] == 0


@pytest.mark.parametrize(
    "values",
    [np.full(900, 3.0), np.random.default_rng(0).poisson(0.3, 900), np.arange(900) % 24 // 8],
    ids=["constant", "counts", "nights"],
)
def test_flat_line_leaves_alone_what_usually_repeats(values: np.ndarray) -> None:
    model = FlatLine().fit(rows(values)[:700])
    assert model.decision_function(rows(values)).max() < 3


def test_slow_drift_finds_what_no_single_bucket_shows() -> None:
    values = daily_wave(1600)
    values[1200:] += np.arange(400) * 0.05
    model = SlowDrift().fit(rows(values)[:1100])
    scores = model.decision_function(rows(values))
    assert scores[1450:].min() > 2 * model.decision_scores_.max()
    spike = rows(daily_wave(1600))
    spike[1300, 1] += 100
    assert SlowDrift().fit(spike[:1100]).decision_function(spike)[1100:].max() < 2 * model.decision_scores_.max()


def test_a_gap_is_not_a_zero() -> None:
    data = rows(daily_wave(1000))
    data = np.delete(data, slice(900, 930), axis=0)
    for cls in CLASSES:
        model = cls().fit(data[:850])
        scores = model.decision_function(data)
        assert scores[890:].max() <= max(2 * model.decision_scores_.max(), 0.01), cls.__name__
    # A window with a gap says nothing.
    model = WindowNeighbours().fit(data[:850])
    scores = model.decision_function(data)
    assert (scores[900:907] == model.neutral_).all()
    assert (scores[907:] != model.neutral_).any()


def test_nobody_looks_across_a_gap_longer_than_its_reach() -> None:
    data = rows(daily_wave(1200))
    data[1000:, 0] += 30 * DAY
    changed = data.copy()
    changed[:1000, 1] += 500
    for cls in CLASSES:
        model = cls().fit(data[:900])
        assert np.array_equal(model.decision_function(changed)[1000:], model.decision_function(data)[1000:])
        assert np.array_equal(model.decision_function(data[1000:]), model.decision_function(data)[1000:])


def test_a_gap_of_decades_costs_nothing() -> None:
    data = rows(daily_wave(600), 1_000_000)
    data[500:, 0] += 10**15
    for cls in CLASSES:
        if cls is not SlotNeighbours:
            assert np.isfinite(cls().fit(data).decision_function(data)).all()


@each
def test_two_readings_in_one_bucket_at_the_edge_of_a_reach(cls: type[SeriesDetector]) -> None:
    data = rows(np.random.default_rng(0).normal(100, 5, 1200))
    model = cls(grain="1h").fit(data[:700])
    for first in range(750, 900, 15):
        crowded = np.insert(data, first + 1, data[first] + [HOUR // 4, 5], axis=0)
        together = model.decision_function(crowded)
        edge = np.arange(first - 3, first + 6) + model.reach
        alone = [model.decision_function(crowded[i - model.reach : i + 1])[-1] for i in edge]
        assert np.array_equal(together[edge], alone)


def test_a_run_longer_than_the_reach_of_flat_line() -> None:
    data = rows(daily_wave(1200))
    data[800:, 1] = 7
    model = FlatLine().fit(data[:700])
    scores = model.decision_function(data)
    assert scores[1100] == scores[1000] == model.decision_function(data[1000 - model.reach : 1001])[-1] > scores[920]


def fitted_or_refused(cls: type[SeriesDetector], data: np.ndarray) -> SeriesDetector | None:
    """Return the fitted detector, or None where it refuses in words of its own."""
    try:
        return cls().fit(data)
    except ValueError as error:
        if not str(error).startswith(f"{cls.__name__} "):
            raise
        return None


ODD = {
    "constant": np.full(80, 7.0),
    "zero": np.zeros(80),
    "two values": np.arange(80) % 2 * 1.0,
    "one step": np.r_[np.zeros(79), 1.0],
    "counts": np.random.default_rng(0).poisson(0.2, 80) * 1.0,
    "negative": -daily_wave(80),
    "huge": daily_wave(80) * 1e300 / 50,
    "one huge": np.r_[daily_wave(79), 1e300],
    "mixed huge": np.where(np.arange(80) % 2, 1.7e308, -1.7e308),
    "tiny": daily_wave(80) * 5e-324,
}


@each
@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("step", [HOUR, DAY, 7 * DAY], ids=["hours", "days", "weeks"])
def test_odd_series_are_scored_or_refused_in_words(cls: type[SeriesDetector], name: str, step: int) -> None:
    data = rows(ODD[name], step)
    model = fitted_or_refused(cls, data[:70])
    if model is None:
        assert cls in (SlotNeighbours, SlowDrift)
        return
    assert np.isfinite(model.decision_scores_).all()
    assert np.isfinite(model.decision_function(data)).all()


@each
def test_what_is_no_series_is_refused_in_words(cls: type[SeriesDetector]) -> None:
    good = rows(daily_wave(200))
    with pytest.raises(ValueError, match=f"{cls.__name__} needs at least {LEAST_ROWS} training rows, got 1"):
        cls().fit(good[:1])
    with pytest.raises(ValueError, match="needs at least"):
        cls().fit(good[:0])
    with pytest.raises(ValueError, match="finite numbers only"):
        cls().fit(np.where(np.arange(400).reshape(200, 2) == 101, np.nan, good))
    with pytest.raises(ValueError, match="in time order"):
        cls().fit(good[::-1])
    with pytest.raises(ValueError, match="got shape"):
        cls().fit(good[:, :1])
    with pytest.raises(ValueError, match="not fitted"):
        cls().decision_function(good)
    assert cls().fit(good).decision_function(good[:0]).shape == (0,)
    assert np.isfinite(cls().fit(good).decision_function(good[:1])).all()


numbers = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-3, 3).map(float))


@each
@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(numbers, min_size=1, max_size=90),
    steps=st.lists(
        st.sampled_from([1, HOUR // 3, HOUR, HOUR, HOUR, 5 * HOUR, DAY, 400 * DAY]), min_size=90, max_size=90
    ),
    even=st.sampled_from([0, 1, 900_000_000, HOUR, 7 * HOUR, DAY, 7 * DAY]),
)
def test_any_series_is_scored_or_refused(
    cls: type[SeriesDetector], values: list[float], steps: list[int], even: int
) -> None:
    times = START + np.cumsum(np.full(len(values), even) if even else np.array(steps[: len(values)]))
    data = np.column_stack([times, values])
    model = fitted_or_refused(cls, data)
    if model is None:
        return
    assert model.reach <= cls().reach
    scores = model.decision_function(data)
    assert np.isfinite(scores).all()
    half = len(data) // 2
    assert np.array_equal(model.decision_function(data[:half]), scores[:half])
    for i in range(model.reach, len(data), 7):
        assert model.decision_function(data[i - model.reach : i + 1])[-1] == scores[i]


def model(name: str, params: dict[str, Any] | None = None) -> ModelConfig:
    return ModelConfig(model_name=name, model_params=params or {})


RECIPE = PreprocessParams()
MIXED = (model("PCA"), *(model(cls.__name__, {"contamination": 0.01}) for cls in CLASSES))


def series(values: np.ndarray) -> Series:
    times = (START + np.arange(len(values)) * HOUR).astype("datetime64[us]")
    return Series(times, np.asarray(values, np.float64))


def fit(values: np.ndarray, models: tuple[ModelConfig, ...] = MIXED) -> pipeline.FittedMetric:
    return pipeline.fit(series(values), parse("1h"), RECIPE, models, "Europe/Berlin")


def test_series_detectors_mix_with_pyods_in_a_pipeline() -> None:
    values = daily_wave(1000)
    values[950] += 60
    fitted = fit(values[:900])
    assert [model.name for model in fitted.models] == [model.model_name for model in MIXED]
    assert {model.detector.timezone for model in fitted.models[1:]} == {"Europe/Berlin"}
    wanted = np.arange(900, 1000)
    scored = pipeline.score(fitted, series(values), wanted, RECIPE, "mean")
    assert np.array_equal(scored.index, wanted)
    assert ((scored.score >= 0) & (scored.score <= 1)).all()
    assert wanted[scored.score.argmax()] == 950
    reach = pipeline.reach(RECIPE, MIXED)
    alone = [
        pipeline.score(fitted, series(values).slice(i - 300, i + 1), np.array([300]), RECIPE, "mean").score[0]
        for i in wanted
    ]
    assert max(model.detector.reach for model in fitted.models[1:]) <= 300 < reach
    assert np.array_equal(scored.score, alone)
    changed = values.copy()
    changed[960:] = 1e9
    after = pipeline.score(fitted, series(changed), wanted, RECIPE, "mean")
    assert np.array_equal(after.score[:60], scored.score[:60])


def test_a_bucket_with_little_before_it_is_scored_from_what_there_is() -> None:
    values = daily_wave(400)
    only = (model("SeasonalResidual"),)
    scored = pipeline.score(fit(values, only), series(values), np.arange(400), RECIPE, "mean")
    assert scored.index[0] == pipeline.LEAST_BEFORE
    window = (model("WindowNeighbours", {"window": 3}),)
    assert pipeline.score(fit(values, window), series(values), np.arange(9), RECIPE, "mean").index[0] == 2
    mixed = pipeline.score(fit(values, (model("PCA"), *window)), series(values), np.arange(20), RECIPE, "mean")
    assert mixed.index[0] == 8


def test_no_bucket_sees_points_older_than_the_span() -> None:
    values = daily_wave(1000)
    fitted = fit(values[:900])
    points, span = series(values), timedelta(hours=100)
    points = Series(np.delete(points.times, slice(960, 970)), np.delete(points.values, slice(960, 970)))
    wanted = np.arange(900, 990)
    scored = pipeline.score(fitted, points, wanted, RECIPE, "mean", span)
    cut = points.slice(780, 990)
    later = pipeline.score(fitted, cut, wanted - 780, RECIPE, "mean", span)
    assert np.array_equal(scored.score, later.score)
    for i, score in zip(wanted, scored.score, strict=True):
        first = points.before(points.times[i] - np.timedelta64(span))
        seen = pipeline.score(fitted, points.slice(first, i + 1), np.array([i - first]), RECIPE, "mean")
        assert seen.score[0] == score
    assert not np.array_equal(scored.score, pipeline.score(fitted, points, wanted, RECIPE, "mean").score)
    # After the gap of ten hours, ten hours hold ten points again only when as many have come.
    tight = pipeline.score(fitted, points, wanted, RECIPE, "mean", timedelta(hours=10))
    assert np.array_equal(np.setdiff1d(wanted, tight.index), np.arange(960, 970))


def test_reach_is_the_most_of_all_models() -> None:
    pca, window = model("PCA"), model("WindowNeighbours", {"window": 5})
    assert pipeline.reach(RECIPE, [pca]) == 8
    assert pipeline.reach(RECIPE, [window]) == 4
    assert pipeline.reach(RECIPE, [pca, window]) == 8
    assert pipeline.reach(RECIPE, [pca, model("FlatLine")]) == 128
    assert pipeline.reach(RECIPE, [model("SlotNeighbours")]) == 2160
    assert pipeline.reach(RECIPE, [model("SlotNeighbours")], parse("1h")) == 170
    assert pipeline.reach(RECIPE, [model("SeasonalResidual")], parse("1d")) == 64


@each
@pytest.mark.parametrize(
    ("grain", "freq"),
    [("5min", "5min"), ("1h", "1h"), ("24h", "1D"), ("1d", "1D"), ("1w", "7D"), ("1mo", "MS"), ("instant", "10min")],
)
def test_no_fitted_detector_reaches_further_than_was_said(cls: type[SeriesDetector], grain: str, freq: str) -> None:
    times = pd.date_range("2001-01-01", periods=700, freq=freq, unit="us").to_numpy()
    values = np.random.default_rng(0).normal(100, 5, 700)
    found: Grain = INSTANT if grain == "instant" else parse(grain)
    config = model(cls.__name__)
    if cls is SlotNeighbours and grain == "1w":
        with pytest.raises(pipeline.CannotFit, match="SlotNeighbours found no season"):
            pipeline.fit(Series(times, values), found, RECIPE, [config], "UTC")
        return
    fitted = pipeline.fit(Series(times, values), found, RECIPE, [config], "UTC")
    assert fitted.models[0].detector.reach <= pipeline.reach(RECIPE, [config], found)
    assert fitted.models[0].detector.reach <= pipeline.reach(RECIPE, [config])


def test_a_detector_that_cannot_be_fitted_leaves_the_others() -> None:
    values = daily_wave(15)
    assert [model.name for model in fit(values, (model("PCA"), model("FlatLine"))).models] == ["PCA"]
    with pytest.raises(
        pipeline.CannotFit, match="FlatLine: ValueError: FlatLine needs at least 20 training rows, got 8"
    ):
        fit(values[:8], (model("PCA"), model("FlatLine")))
