"""Loading one batch: the fast way of a worker gives what loading all would have given."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomstack_provider.config.loader import load_batches


def test_one_batch_is_loaded_as_among_all(folder: Any):
    folder.write("defaults.yaml", "owner: data\n")
    for number in range(20):
        folder.batch(f"f{number}.yaml", f"batch {number}", shards=number + 1)
    folder.write("broken.yaml", "a: [")
    environ = {"ANOMSTACK__BATCH_7__RETRIES": "9"}
    everything, one = folder.load(environ), folder.load(environ, only="batch 7")
    assert one.batches == {"batch 7": everything.batches["batch 7"]}
    assert one.errors == []


@pytest.mark.parametrize(
    "line",
    [
        "metric_batch: sales",
        "metric_batch: 'sales'",
        'metric_batch: "sales"  # ours',
        'metric_batch: "s\\u0061les"',
        '"metric_batch": sales',
        "{metric_batch: sales, ingest_sql: select 1}",
        "? metric_batch\n: sales",
        "metric_batch: >-\n  sales",
        "metric_batch:\n  sales",
        "owner: &n sales\nmetric_batch: *n",
        'description: "\nmetric_batch: other\n"\n"metric\\u005fbatch": sales',
        "description: |\n  metric_batch: other\nmetric_batch: sales",
        'description: "\nmetric_batch: other\n"\n"metric_batch": sales',
        "---\r\nmetric_batch: sales\r",
    ],
)
def test_one_batch_is_found_however_its_name_is_written(folder: Any, line: str):
    end = "" if line.startswith("{") else "\ningest_sql: select 1\n"
    folder.write("a.yaml", line + end)
    folder.batch("b.yaml", "other")
    assert list(folder.load(only="sales").batches) == ["sales"]


def test_a_name_that_continues_in_the_next_line_is_not_cut(folder: Any):
    folder.write("a.yaml", "metric_batch: two\n\n  words\ningest_sql: select 1\n")
    folder.batch("b.yaml", "two")
    assert [list(folder.load(only=name).batches) for name in ("two\nwords", "two")] == [
        ["two\nwords"],
        ["two"],
    ]


def test_a_second_batch_of_the_name_is_found_however_it_is_written(folder: Any):
    folder.write("a.yaml", 'description: "\nmetric_batch: other\n"\n"metric_batch": sales\ningest_sql: select 1\n')
    folder.batch("b.yaml", "sales")
    loaded = folder.load(only="sales")
    assert (loaded.batches, [error.path for error in loaded.errors]) == ({}, ["a.yaml", "b.yaml"])


def test_one_broken_batch_has_its_errors(folder: Any):
    folder.batch("a.yaml", "a", shards="x")
    folder.batch("b.yaml", "b", shards="y")
    folder.write("c.yaml", "a: [")
    folder.write("d.yaml", "metric_batch: a\nshards: [")
    for name in ("a", "c.yaml", "d.yaml"):
        everything = folder.load()
        assert folder.load(only=name).errors == everything.broken[name]


def test_one_batch_that_does_not_exist_is_not_there(folder: Any):
    folder.batch("a.yaml", "a")
    loaded = folder.load(only="b")
    assert (loaded.batches, loaded.errors) == ({}, [])


@given(st.dictionaries(st.text(min_size=1, max_size=12).filter(str.strip), st.integers(1, 5), min_size=1, max_size=4))
def test_one_batch_is_what_all_would_give_for_any_names(shards: dict[str, int]):
    import yaml

    with tempfile.TemporaryDirectory() as directory:
        for number, (name, count) in enumerate(shards.items()):
            content = {"metric_batch": name, "ingest_sql": "select 1", "shards": count}
            Path(directory, f"{number}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        everything = load_batches(directory, environ={})
        for name in {*everything.batches, *everything.broken}:
            one = load_batches(directory, environ={}, only=name)
            assert one.batches == {key: batch for key, batch in everything.batches.items() if key == name}
            assert one.errors == everything.broken.get(name, [])
        assert set(everything.batches) | set(everything.broken) == set(shards)
