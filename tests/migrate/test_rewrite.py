"""Files in newer keys: what is left out, what is renamed, and what somebody chose and keeps."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from anomstack_provider.migrate.rewrite import Rewritten, as_yaml, chooses_models, rewrite

MODELS = [
    {"model_name": "PCA", "model_tag": "pca_default", "model_params": {"contamination": 0.01}},
    {"model_name": "KNN", "model_tag": "knn_default", "model_params": {"contamination": 0.01}},
]
FEATURES = {"diff_n": 1, "smooth_n": 3, "lags_n": 5, "freq": None, "freq_agg": "mean"}
DEFAULTS: dict[str, Any] = {
    "db": "duckdb",
    "model_configs": MODELS,
    "preprocess_params": FEATURES,
    "preprocess_fn": '{% include "./defaults/python/preprocess.py" %}',
    "alert_threshold": 0.7,
    "alert_smooth_n": 3,
    "train_max_n": 2500,
    "score_max_n": 25,
}
BATCH = {"metric_batch": "b", "ingest_sql": "select 1"}
FOREST = [{"model_name": "IForest"}]


def test_defaults_say_nothing_that_is_so_anyway() -> None:
    assert rewrite(DEFAULTS).values == {}
    assert rewrite({**DEFAULTS, "score_max_n": 30, "table_key": "tmp.metrics"}).values == {
        "table_key": "tmp.metrics",
        "score_max_n": 30,
    }


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({"alert_threshold": 0.9, "alert_smooth_n": 0}, {}),
        ({"preprocess_params": {**FEATURES, "freq": "1h"}}, {"preprocess_params": {"freq": "1h", "freq_agg": "mean"}}),
        ({"disable_alerts": True}, {"disable_alert": True}),
        ({"ingest_cron_schedule": "*/180 * * * *"}, {"schedule": "0 */3 * * *"}),
        ({"ingest_cron_schedule": "*/7 * * * *"}, {"schedule": "*/7 * * * *"}),
        (
            {"score_cron_schedule": "0 * * * *", "train_cron_schedule": "0 3 * * *"},
            {"train_cron_schedule": "0 3 * * *"},
        ),
        ({"alert_exclude_metrics": ["'a b'", "c"]}, {"alert_exclude_metrics": ["a b", "c"]}),
        ({"alert_sql": '{% include "./defaults/sql/alerts.sql" %}'}, {}),
        ({"alert_sql": '{% include "./mine.sql" %}'}, {"alert_sql": '{% include "./mine.sql" %}'}),
        ({"db": "bigquery"}, {"db": "bigquery"}),
        ({"train_max_n": 500}, {"train_max_n": 500}),
        ({"train_max_n": 2500}, {}),
        ({"metric_tags": {"m": {"team": "x"}}}, {"metric_tags": {"m": {"team": "x"}}}),
    ],
)
def test_a_batch_is_judged_by_recipe_seasonal(own: dict[str, Any], expected: dict[str, Any]) -> None:
    assert rewrite({**BATCH, **own}, DEFAULTS).values == {**BATCH, **expected}


def test_a_batch_that_chose_models_keeps_them_and_what_the_defaults_said_for_them() -> None:
    found = rewrite({**BATCH, "model_configs": FOREST}, DEFAULTS).values
    assert found == {**BATCH, "alert_threshold": 0.7, "model_configs": FOREST, "recipe": "anomstack"}


def test_a_folder_that_chose_models_keeps_them_for_all_batches() -> None:
    defaults = {**DEFAULTS, "model_configs": FOREST}
    assert rewrite(defaults).values == {"model_configs": FOREST, "alert_threshold": 0.7, "recipe": "anomstack"}
    assert rewrite({**BATCH, "alert_threshold": 0.9}, defaults).values == {**BATCH, "alert_threshold": 0.9}


@pytest.mark.parametrize(
    ("values", "chose"),
    [
        (DEFAULTS, False),
        ({"preprocess_params": {**FEATURES, "freq": "1D", "freq_agg": "sum"}}, False),
        ({"preprocess_params": {"lags_n": 3}}, True),
        ({"model_combination_method": "max"}, True),
        ({"preprocess_fn": "def preprocess(df): ..."}, True),
        ({"model_configs": "nonsense"}, True),
    ],
)
def test_who_chose_models(values: dict[str, Any], chose: bool) -> None:
    assert chooses_models(values) is chose


def test_yaml_gives_back_the_same_values() -> None:
    values = {
        "metric_batch": "007",
        "ingest_sql": "select 1,\n  'two  '\n\nfrom x\n",
        "ingest_fn": '{% include "./a.py" %}\n\n',
        "metric_tags": {"two words ☕": {"k": "yes"}, "o'brien": {"k": "1"}},
    }
    text = as_yaml(values)
    assert yaml.safe_load(text) == values
    assert "☕" in text
    assert "ingest_fn: |" in text


def test_who_names_the_recipe_chose_it() -> None:
    named = rewrite({**BATCH, "recipe": "anomstack"}, DEFAULTS).values
    assert named == {**BATCH, "recipe": "anomstack", "alert_threshold": 0.7}, "which the written defaults lose"
    assert rewrite({**DEFAULTS, "recipe": "anomstack"}).values == {"alert_threshold": 0.7, "recipe": "anomstack"}
    assert rewrite({**BATCH, "alert_threshold": 0.9}, {"recipe": "anomstack"}).values["alert_threshold"] == 0.9


@pytest.mark.parametrize(
    ("found", "keeps"),
    [
        (rewrite({"delete_after_n_days": 365}), False),
        (rewrite({**BATCH, "delete_after_n_days": 365}, {}), False),
        (rewrite({**BATCH, "model_configs": FOREST, "delete_after_n_days": 365}, {}), True),
        (rewrite({**BATCH, "delete_after_n_days": 30}, {}), True),
    ],
)
def test_it_says_which_values_of_anomstack_are_now_others(found: Rewritten, keeps: bool) -> None:
    assert ("delete_after_n_days" in found.values) == keeps
    said = {} if keeps else {"delete_after_n_days": "left out: recipe seasonal has a default of its own, 1095"}
    assert found.replaced == said
