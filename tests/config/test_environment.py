"""Variables and the site's defaults: their mistakes are told where they were made."""

from __future__ import annotations

from typing import Any

import pytest

from anomstack_provider.config.loader import load_batches


def test_an_unknown_key_in_a_variable_of_a_known_batch_is_an_error(folder: Any):
    folder.batch("a.yaml", "a-b")
    assert folder.errors({"ANOMSTACK__A_B__ALERT_TRESHOLD": "1"}) == [
        "environment variable ANOMSTACK__A_B__ALERT_TRESHOLD: alert_treshold: unknown key; did you "
        "mean 'alert_threshold'?"
    ]


def test_a_wrong_value_in_a_variable_is_an_error_there(folder: Any):
    folder.batch("a.yaml", "a", shards=2)
    environ = {"ANOMSTACK__A__SHARDS": "many", "ANOMSTACK__A__PREPROCESS_PARAMS": "{lags_n: -1}"}
    assert folder.errors(environ) == [
        "environment variable ANOMSTACK__A__SHARDS: shards: expected a whole number, got 'many'",
        "environment variable ANOMSTACK__A__PREPROCESS_PARAMS: preprocess_params.lags_n: expected 0 or more, got -1",
    ]


@pytest.mark.parametrize("text", ["{lags_n: [", "&a [*a]", "x: y: z", "\ud800"])
def test_a_variable_that_is_no_yaml_is_an_error_there(folder: Any, text: str):
    folder.batch("a.yaml", "a")
    assert folder.errors({"ANOMSTACK__A__PREPROCESS_PARAMS": text}) == [
        "environment variable ANOMSTACK__A__PREPROCESS_PARAMS: preprocess_params: expected a "
        "mapping of keys and "
        f"values, got {text!r}"
    ]


def test_a_batch_cannot_be_renamed_from_outside(folder: Any):
    folder.batch("a.yaml", "a")
    assert folder.errors({"ANOMSTACK__A__METRIC_BATCH": "b"}, {"metric_batch": "c"}) == [
        "section [anomstack] of the Airflow config: metric_batch: names one batch; give it in the batch's own file",
        "environment variable ANOMSTACK__A__METRIC_BATCH: metric_batch: names one batch; give it in "
        "the batch's own file",
    ]


def test_a_wrong_site_default_is_an_error_there(folder: Any):
    folder.batch("a.yaml", "a")
    assert folder.errors(site={"shards": "0", "tabel_key": "x"}) == [
        "section [anomstack] of the Airflow config: shards: expected 1 or more, got '0'",
        "section [anomstack] of the Airflow config: tabel_key: unknown key; did you mean 'table_key'?",
    ]


def test_a_variable_of_no_batch_is_a_warning(folder: Any):
    folder.batch("a.yaml", "a")
    loaded = folder.load({"ANOMSTACK__NETDATA__SHARDS": "2", "ANOMSTACK__A__SHARDS": "2"})
    assert loaded.errors == []
    assert loaded.warnings == ("environment variable ANOMSTACK__NETDATA__SHARDS: is not read; no batch has this name",)


def test_a_variable_reaches_a_broken_batch_without_a_warning(folder: Any):
    folder.batch("a.yaml", "a", shards="x")
    assert folder.load({"ANOMSTACK__A__SHARDS": "2"}).errors == []


def test_the_environment_of_the_process_is_read_unless_one_is_given(folder: Any, monkeypatch: pytest.MonkeyPatch):
    folder.batch("a.yaml", "a")
    monkeypatch.setenv("ANOMSTACK__A__SHARDS", "5")
    assert load_batches(folder.root).batches["a"].spec.shards == 5
    assert load_batches(folder.root, environ={}).batches["a"].spec.shards == 1


@pytest.mark.parametrize(("value", "names"), [("yes", ["b"]), ("no", ["b", "a"]), ("", ["b", "a"])])
def test_examples_can_be_ignored(folder: Any, value: str, names: list[str]):
    folder.batch("examples/a/a.yaml", "a")
    folder.batch("b.yaml", "b")
    assert sorted(folder.load({"ANOMSTACK_IGNORE_EXAMPLES": value}).batches) == sorted(names)
