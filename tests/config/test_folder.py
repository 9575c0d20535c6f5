"""What a disk can hold besides tidy files: links, pipes, hidden folders, names that are no text."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from anomstack_provider.config.loader import load_batches

GOOD = "metric_batch: good\ningest_sql: select 1\n"


def test_hidden_files_and_folders_are_left_out(folder: Any):
    folder.batch("a.yaml", "a")
    folder.batch(".git/b.yaml", "b")
    folder.batch("team/.c.yaml", "c")
    assert list(folder.load().batches) == ["a"]


def test_links_are_followed_but_no_folder_is_read_twice(folder: Any, tmp_path: Path):
    folder.batch("real/a.yaml", "a")
    (folder.root / "real/loop").symlink_to(folder.root)
    (folder.root / "again").symlink_to(folder.root / "real")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/b.yaml").write_text(GOOD)
    (folder.root / "linked").symlink_to(tmp_path / "outside")
    loaded = folder.load()
    assert {name: batch.path for name, batch in loaded.batches.items()} == {
        "a": "again/a.yaml",
        "good": "linked/b.yaml",
    }
    assert loaded.errors == []


def test_files_mounted_as_a_config_map_are_found_once(folder: Any):
    """Kubernetes links x.yaml -> ..data/x.yaml -> ..2024_01_01/x.yaml."""
    folder.batch("..2024_01_01/a.yaml", "a")
    (folder.root / "..data").symlink_to("..2024_01_01")
    (folder.root / "a.yaml").symlink_to("..data/a.yaml")
    loaded = folder.load()
    assert ({name: batch.path for name, batch in loaded.batches.items()}, loaded.errors) == (
        {"a": "a.yaml"},
        [],
    )


def test_what_cannot_be_read_is_an_error(folder: Any):
    folder.batch("good.yaml", "good")
    (folder.root / "gone.yaml").symlink_to("nowhere")
    os.mkfifo(folder.root / "pipe.yaml")
    (folder.root / "folder.yaml").mkdir()
    assert folder.errors() == [
        "gone.yaml: is a link to nothing; remove it",
        "pipe.yaml: is not a regular file; remove it",
    ]
    assert list(folder.load().batches) == ["good"]


def test_names_of_files_that_are_no_text_can_be_printed(folder: Any):
    path = os.fsencode(folder.root) + b"/caf\xe9.yaml"
    with open(path, "wb") as file:
        file.write(b"shards: 1\n")
    (error,) = folder.load().errors
    assert (
        str(error).encode()
        == "caf\ufffd.yaml:1: metric_batch: is missing; name the batch, such as metric_batch: sales".encode()
    )


def test_a_missing_folder_is_an_error(tmp_path: Path):
    loaded = load_batches(tmp_path / "nowhere", environ={})
    assert [str(error) for error in loaded.errors] == [
        f"{tmp_path}/nowhere: there is no such folder; create it, or set metrics_dir to the right one"
    ]


def test_an_empty_folder_holds_nothing(folder: Any):
    loaded = folder.load()
    assert (loaded.batches, loaded.errors, loaded.warnings) == ({}, [], ())
