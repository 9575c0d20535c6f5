from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyod.models.knn import KNN
from pyod.models.pca import PCA

from anomstack_provider.detection import detectors, pipeline
from anomstack_provider.detection.detectors import ROW_INDEPENDENT, UnknownDetector, build
from anomstack_provider.detection.features import lag_matrix
from anomstack_provider.detection.grain import parse
from anomstack_provider.detection.series import Series


@dataclass(frozen=True)
class Recipe:
    diff_n: int = 1
    smooth_n: int = 3
    lags_n: int = 5
    freq: str | None = None
    freq_agg: str = "mean"


@dataclass(frozen=True)
class Model:
    model_name: str
    model_params: dict[str, Any] = field(default_factory=dict)


DEFAULT = (Model("PCA", {"contamination": 0.01}), Model("KNN", {"contamination": 0.01}))
RECIPE = Recipe()


def series(values: np.ndarray) -> Series:
    times = pd.date_range("2024-01-01", periods=len(values), freq="1h").to_numpy().astype("datetime64[us]")
    return Series(times, np.asarray(values, np.float64))


def fit(values: np.ndarray, models: tuple[Model, ...] = DEFAULT) -> pipeline.FittedMetric:
    return pipeline.fit(series(values), parse("1h"), RECIPE, models, "UTC")


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 5, n)


def test_the_score_is_the_mean_of_pyods_own_linear_probabilities() -> None:
    values = noise(300)
    fitted = fit(values[:250])
    scored = pipeline.score(fitted, series(values), np.arange(250, 300), RECIPE, "mean")
    train, test = lag_matrix(values[:250], RECIPE), lag_matrix(values, RECIPE)[242:]
    theirs = [m(contamination=0.01).fit(train).predict_proba(test, method="linear")[:, 1] for m in (PCA, KNN)]
    np.testing.assert_allclose(scored.score, np.mean(theirs, axis=0), atol=1e-12)


@pytest.mark.parametrize("name", [*sorted(ROW_INDEPENDENT), "ECOD", "COPOD", "LOF", "MAD"])
def test_a_bucket_scores_the_same_alone_or_among_others_to_the_bit(name: str) -> None:
    recipe = Recipe(lags_n=0) if name == "MAD" else RECIPE
    values = noise(400)
    fitted = pipeline.fit(series(values[:300]), parse("1h"), recipe, (Model(name),), "UTC")
    wanted = np.arange(300, 400)
    together = pipeline.score(fitted, series(values), wanted, recipe, "mean")
    alone = [pipeline.score(fitted, series(values[: i + 1]), np.array([i]), recipe, "mean").score[0] for i in wanted]
    assert np.array_equal(together.score, np.array(alone))


@pytest.mark.parametrize("name", ["IForest", "PCA", "KNN"])
def test_training_twice_gives_the_same_model(name: str) -> None:
    values = noise(300)
    wanted = np.arange(200, 300)
    models = [fit(values[:200], (Model(name),)) for _ in range(2)]
    first, second = (pipeline.score(m, series(values), wanted, RECIPE, "mean").score for m in models)
    assert np.array_equal(first, second)


def test_nothing_after_a_bucket_changes_its_score() -> None:
    values = noise(300)
    changed = values.copy()
    changed[280:] = 1e12
    fitted = fit(values[:250])
    wanted = np.arange(250, 280)
    before = pipeline.score(fitted, series(values), wanted, RECIPE, "mean")
    after = pipeline.score(fitted, series(changed), wanted, RECIPE, "mean")
    assert np.array_equal(before.score, after.score)
    assert np.array_equal(before.expected, after.expected)


@pytest.mark.parametrize(("how", "function"), [("mean", np.mean), ("min", np.min), ("max", np.max)])
def test_models_are_combined_as_asked(how: str, function: Any) -> None:
    values = noise(300)
    wanted = np.arange(250, 300)
    single = [
        pipeline.score(fit(values[:250], (model,)), series(values), wanted, RECIPE, "mean").score for model in DEFAULT
    ]
    both = pipeline.score(fit(values[:250]), series(values), wanted, RECIPE, how)
    np.testing.assert_allclose(both.score, function(single, axis=0), atol=1e-15)


@pytest.mark.parametrize(
    "values",
    [np.full(60, 7.0), np.zeros(60), noise(60) * 1e300, -noise(60), np.r_[np.zeros(59), 1.0], np.arange(60) % 2 * 1.0],
    ids=["constant", "zero", "huge", "negative", "one step", "two values"],
)
def test_odd_series_are_fitted_or_refused_in_words_without_a_warning(values: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if np.abs(values).max() > 1e300:
            with pytest.raises(pipeline.CannotFit, match=r"PCA: .*; KNN: "):
                fit(values)
            return
        scored = pipeline.score(fit(values), series(values), np.arange(20, 60), RECIPE, "mean")
    assert ((scored.score >= 0) & (scored.score <= 1)).all()


def test_too_few_points_for_a_row_are_refused() -> None:
    with pytest.raises(pipeline.CannotFit, match="8 points leave no complete row of 9 points"):
        fit(noise(8))


def test_an_unknown_model_is_named_with_close_ones() -> None:
    with pytest.raises(UnknownDetector, match=r"'KNNN'.*close: KNN"):
        build("KNNN", {})
    with pytest.raises(UnknownDetector, match=r"only classes of pyod\.models"):
        build("os.path.join", {})
    with pytest.raises(UnknownDetector, match="is not a PyOD detector"):
        build("pyod.models.base.MinMaxScaler", {})


def test_an_unknown_parameter_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'PCA' takes no parameter 'contaminatoin'; it takes .*contamination"):
        build("PCA", {"contaminatoin": 0.1})


def test_a_dotted_name_is_the_class_there() -> None:
    assert detectors.detector_class("pyod.models.knn.KNN") is KNN


def test_the_expected_value_follows_the_hour_of_the_day() -> None:
    hours = np.arange(24 * 21)
    values = 100 + 50 * np.sin(hours % 24 / 24 * 2 * np.pi) + np.random.default_rng(1).normal(0, 1, len(hours))
    fitted = fit(values)
    expected, lower, upper = fitted.baseline.expect(series(values).times[:24])
    assert np.abs(expected - values[:24]).max() < 6
    assert (upper - lower).max() < 20


@pytest.mark.parametrize("name", sorted(ROW_INDEPENDENT))
def test_a_score_needs_nothing_that_was_kept_of_the_training_points(name: str) -> None:
    values = noise(400)
    fitted = fit(values[:300], (Model(name),))
    assert fitted.models[0].detector.decision_scores_.size == fitted.models[0].detector.labels_.size == 0
    theirs = build(name, {}).fit(lag_matrix(values[:300], RECIPE))
    rows = lag_matrix(values, RECIPE)[292:]
    scored = pipeline.score(fitted, series(values), np.arange(300, 400), RECIPE, "mean")
    np.testing.assert_allclose(scored.score, theirs.predict_proba(rows, method="linear")[:, 1], atol=1e-12)
