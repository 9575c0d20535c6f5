"""A metrics folder on disk: what loads, what is said about the rest, and that nothing stops the rest."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from anomstack_provider.config.errors import BatchError

ErrorsOf = Callable[[str | bytes], list[str]]
GOOD = "metric_batch: good\ningest_sql: select 1\n"


def test_files_at_any_depth_are_batches_whatever_their_names(folder: Any):
    folder.batch("b.yaml", "one")
    folder.batch("team/deep/er/x.yml", "two")
    folder.batch("examples/a/a.yaml", "three")
    folder.write("notes.txt", "not yaml: [")
    folder.write("examples/a/a.sql", "select 1")
    loaded = folder.load()
    assert loaded.errors == []
    assert {name: batch.path for name, batch in loaded.batches.items()} == {
        "one": "b.yaml",
        "three": "examples/a/a.yaml",
        "two": "team/deep/er/x.yml",
    }
    assert list(loaded.batches) == ["one", "three", "two"], "in the order of the files"


def test_a_loaded_batch_knows_where_its_keys_were_set(folder: Any):
    folder.write("defaults.yaml", "# all of us\nowner: data\n")
    folder.write("a.yaml", "metric_batch: sales\n\nschedule: '@daily'\ningest_sql: >\n  select 1\n")
    batch = folder.load({"ANOMSTACK__SALES__SHARDS": "2"}).batches["sales"]
    assert {key: str(source) for key, source in batch.provenance.items()} == {
        "owner": "defaults.yaml:2",
        "metric_batch": "a.yaml:1",
        "schedule": "a.yaml:3",
        "ingest_sql": "a.yaml:4",
        "shards": "environment variable ANOMSTACK__SALES__SHARDS",
    }
    assert batch.lines == {"metric_batch": 1, "schedule": 3, "ingest_sql": 4}
    assert str(batch.source("retries")) == "default of the package"
    assert batch.raw == {
        "owner": "data",
        "metric_batch": "sales",
        "schedule": "@daily",
        "ingest_sql": "select 1\n",
        "shards": "2",
    }


def test_one_broken_file_stops_no_other(folder: Any):
    folder.batch("good.yaml", "good")
    folder.write("syntax.yaml", "a: [")
    folder.write("binary.yaml", b"\xff\xfe")
    folder.write("empty.yaml", "")
    folder.write("list.yaml", "- a\n")
    folder.batch("value.yaml", "value", shards="none")
    loaded = folder.load()
    assert list(loaded.batches) == ["good"]
    assert [str(error) for error in loaded.errors] == [
        "binary.yaml:1: is not UTF-8 text (byte 0xff); save the file as UTF-8",
        "empty.yaml: expected keys and values, such as 'metric_batch: sales', got nothing",
        "list.yaml:1: expected keys and values, such as 'metric_batch: sales', got a list",
        "syntax.yaml:1: a: is not YAML: did not find expected node content while parsing a flow node",
        "value.yaml:3: shards: expected a whole number, got 'none'",
    ]
    assert list(loaded.broken) == ["binary.yaml", "empty.yaml", "list.yaml", "syntax.yaml", "value"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            "ingest_sql: select 1\n",
            ["a.yaml:1: metric_batch: is missing; name the batch, such as metric_batch: sales"],
        ),
        ("x: 1\nmetric_bach: a\n", ["a.yaml:2: metric_bach: unknown key; did you mean 'metric_batch'?"]),
        (
            "\nmetric_batch:\n",
            ["a.yaml:2: metric_batch: is empty; name the batch, such as metric_batch: sales"],
        ),
        (
            "metric_batch: ' '\n",
            ["a.yaml:1: metric_batch: is empty; name the batch, such as metric_batch: sales"],
        ),
        ("metric_batch: [a]\n", ["a.yaml:1: metric_batch: expected text, got a list"]),
        ("<<: {metric_batch: 7}\n", ["a.yaml:1: metric_batch: expected text, got 7"]),
        ("metric_batch: {a: b}\n", ["a.yaml:1: metric_batch: expected text, got a mapping"]),
        (f"metric_batch: {'x' * 201}\n", ["a.yaml:1: metric_batch: has 201 characters; a name may have 200"]),
    ],
)
def test_a_file_without_a_name_is_an_error_under_its_path(
    folder: Any, errors_of: ErrorsOf, content: str, expected: list[str]
):
    assert errors_of(content) == expected
    assert list(folder.load().broken) == ["a.yaml"]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("alert_treshold: 0.9\n", ["a.yaml:3: alert_treshold: unknown key; did you mean 'alert_threshold'?"]),
        ("alert_threshold: 80\n", ["a.yaml:3: alert_threshold: expected 1 or less, got 80"]),
        ("shards: 0\n\nretries: x\n", [
            "a.yaml:5: retries: expected a whole number, got 'x'",
            "a.yaml:3: shards: expected 1 or more, got 0",
        ]),
        ("preprocess_params:\n  diff_n: 1\n  lag_n: 2\n", [
            "a.yaml:5: preprocess_params.lag_n: unknown key; did you mean 'lags_n'?",
        ]),
        ("model_configs:\n- model_name: PCA\n- model_tag: x\n", [
            "a.yaml:5: model_configs[1].model_name: is missing",
        ]),
        ("tholdalert_thresholds:\n  m:\n    upper: high\n", [
            "a.yaml:5: tholdalert_thresholds.m.upper: expected a number, got 'high'",
        ]),
        ("train_min_n: 50\ntrain_max_n: 20\n", ["a.yaml:4: train_max_n: train_min_n (50) is above "
        "train_max_n (20)"]),
        ("train_max_n: 10\n", ["a.yaml:3: train_max_n: train_min_n (14) is above train_max_n (10)"]),
        ("ingest_fn: x\n", ["a.yaml:3: ingest_fn: ingest_sql and ingest_fn are both given; keep one "
        "of them"]),
        ("schedule: '@daily'\ningest_cron_schedule: '@hourly'\n", [
            "a.yaml:4: ingest_cron_schedule: schedule and ingest_cron_schedule are one setting and "
            "say different "
            "things; keep one of them",
        ]),
        ("schedule: every day\n", [
            "a.yaml:3: schedule: 'every day' is not a cron; write five fields, minute hour day "
            "month weekday, such as "
            "'0 6 * * *'",
        ]),
        ("start_date: 2024-02-30\n", [
            "a.yaml:3: start_date: expected a date such as 2024-01-31 or 2024-01-31T06:00:00+00:00, "
            "got '2024-02-30'",
        ]),
        ("timezone: Europe/Berln\n", ["a.yaml:3: timezone: unknown time zone 'Europe/Berln'; did "
        "you mean 'Europe/Berlin'?"]),
        ("completeness_delay: soon\n", [
            "a.yaml:3: completeness_delay: expected a duration such as 90m, 2h, 1d or PT2H, or a "
            "number of seconds, "
            "got 'soon'",
        ]),
        ("shards: 1\nshards: 2\n", ["a.yaml:4: shards: is given twice, first in line 3; keep one"]),
        ("disable_train:\n", ["a.yaml:3: disable_train: has no value; give one, or delete the line "
        "to have the default"]),
    ],
)  # fmt: skip
def test_a_wrong_key_is_an_error_with_its_line(errors_of: ErrorsOf, keys: str, expected: list[str]):
    assert errors_of("metric_batch: a\ningest_sql: select 1\n" + keys) == expected


def test_nothing_to_ingest_is_said_at_the_batchs_name(errors_of: ErrorsOf):
    assert errors_of("# c\nmetric_batch: a\n") == [
        "a.yaml:2: has neither ingest_sql nor ingest_fn; give one, or set disable_ingest: true"
    ]


def test_an_error_has_its_parts(folder: Any):
    folder.write("team/a.yaml", "metric_batch: a\ningest_sql: select 1\npreprocess_params: {diff_n: -1}\n")
    assert folder.load().errors == [
        BatchError("a", "team/a.yaml", 3, 21, "preprocess_params.diff_n", "expected 0 or more, got -1")
    ]


def test_values_are_read_as_their_key_needs(folder: Any):
    folder.write(
        "a.yaml",
        "metric_batch: 007\ningest_sql: 1\nowner: on\ntable_key: 2024-01-31\nconn_id: "
        "null\nstart_date: 2024-01-31\n"
        "completeness_delay: 1:30\n".replace("1:30", "0")
        + "disable_train: on\nhistory_chunk: 3600\n",
    )
    spec = folder.load().batches["007"].spec
    assert (spec.ingest_sql, spec.owner, spec.table_key, spec.conn_id) == ("1", "on", "2024-01-31", None)
    assert (spec.disable_train, spec.history_chunk) == (True, timedelta(hours=1))


def test_two_files_of_one_name_are_an_error_for_both(folder: Any):
    folder.batch("a.yaml", "sales", disable_batch="true")
    folder.batch("b/b.yml", "sales")
    folder.batch("c.yaml", "other")
    loaded = folder.load()
    assert list(loaded.batches) == ["other"]
    assert [str(error) for error in loaded.errors] == [
        "a.yaml:1: metric_batch: 'sales' is the name of the batch in b/b.yml too; give each batch its own",
        "b/b.yml:1: metric_batch: 'sales' is the name of the batch in a.yaml too; give each batch its own",
    ]
    assert [str(error) for error in folder.load(only="sales").errors] == [str(error) for error in loaded.errors]


def test_a_broken_file_keeps_its_batchs_name_where_it_can_be_told(folder: Any):
    folder.write("a.yaml", "# c\nmetric_batch: 'sales' # ours\ningest_sql: {{ x }}\n")
    assert list(folder.load().broken) == ["sales"]


def test_a_name_guessed_from_a_broken_file_hides_no_batch(folder: Any):
    folder.write("a.yaml", "metric_batch: sales\ningest_sql: {{ x }}\n")
    folder.batch("b.yaml", "sales")
    loaded = folder.load()
    assert (list(loaded.batches), list(loaded.broken)) == (["sales"], ["a.yaml"])


def test_a_disabled_batch_is_loaded_and_flagged(folder: Any):
    folder.write("a.yaml", "metric_batch: a\ndisable_batch: true\n")
    folder.batch("b.yaml", "b")
    assert {name: batch.disabled for name, batch in folder.load().batches.items()} == {"a": True, "b": False}
