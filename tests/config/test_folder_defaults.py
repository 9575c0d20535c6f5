"""The folder's own defaults: where they stand, and what their mistakes mean for the batches."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize("place", ["defaults/defaults.yaml", "defaults/defaults.yml", "defaults.yaml", "defaults.yml"])
def test_the_folders_defaults_are_found(folder: Any, place: str):
    folder.write(place, "owner: data\n")
    folder.batch("a.yaml", "a")
    loaded = folder.load()
    assert (loaded.batches["a"].spec.owner, loaded.errors, loaded.warnings) == ("data", [], ())


def test_of_two_files_of_defaults_the_one_that_is_not_read_is_named(folder: Any):
    folder.write("defaults/defaults.yaml", "owner: read\n")
    folder.write("defaults.yaml", "owner: not read\n")
    folder.write("team/defaults.yml", "owner: not read\n")
    folder.batch("team/a.yaml", "a")
    loaded = folder.load()
    assert loaded.batches["a"].spec.owner == "read"
    assert loaded.warnings == (
        "defaults.yaml: is not read; the folder's defaults are defaults/defaults.yaml",
        "team/defaults.yml: is not read; the folder's defaults are defaults/defaults.yaml",
    )


@pytest.mark.parametrize("content", ["", "\n", "# nothing yet\n"])
def test_defaults_may_be_empty(folder: Any, content: str):
    folder.write("defaults.yaml", content)
    folder.batch("a.yaml", "a")
    assert folder.errors() == []


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("owner: data\nshrads: 2\n", "defaults.yaml:2: shrads: unknown key; did you mean 'shards'?"),
        ("owner: data\nshards: no\n", "defaults.yaml:2: shards: expected a number, got false"),
        (
            "owner: [\n",
            "defaults.yaml:2: owner: is not YAML: did not find expected node content while parsing a flow node",
        ),
        ("- owner\n", "defaults.yaml:1: expected keys and values, such as 'metric_batch: sales', got a list"),
        ("owner: a\nowner: b\n", "defaults.yaml:2: owner: is given twice, first in line 1; keep one"),
        (
            "metric_batch: a\n",
            "defaults.yaml:1: metric_batch: names one batch; give it in the batch's own file",
        ),
    ],
)
def test_broken_defaults_are_an_error_of_every_batch_once(folder: Any, content: str, expected: str):
    folder.write("defaults.yaml", content)
    folder.batch("a.yaml", "a")
    folder.batch("b.yaml", "b", shards=3, owner="me") if "shards" not in content else folder.batch("b.yaml", "b")
    loaded = folder.load()
    assert loaded.batches == {}
    assert [(error.metric_batch, str(error)) for error in loaded.errors] == [("a", expected), ("b", expected)]


def test_broken_defaults_are_said_even_without_a_batch(folder: Any):
    folder.write("defaults.yaml", "owner: [\n")
    assert [error.metric_batch for error in folder.load().errors] == ["defaults.yaml"]


def test_a_wrong_default_is_no_error_of_a_batch_that_replaces_it(folder: Any):
    folder.write("defaults.yaml", "shards: many\n")
    folder.batch("a.yaml", "a")
    folder.batch("b.yaml", "b", shards=2)
    loaded = folder.load()
    assert list(loaded.batches) == ["b"]
    assert [str(error) for error in loaded.errors] == ["defaults.yaml:1: shards: expected a whole number, got 'many'"]
