"""What a maintenance run removes of the models of a batch, and what it leaves: on a local folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from anomstack_provider.artifacts.files import Files
from anomstack_provider.artifacts.model_store import ModelKey, ModelStore
from anomstack_provider.artifacts.plots import load_plot, save_plot
from anomstack_provider.artifacts.probe import probe
from anomstack_provider.artifacts.tidying import tidy

NOW = datetime.now(UTC)
YESTERDAY, LATER = NOW - timedelta(days=1), NOW + timedelta(days=1)
HASH = "0123abcd-r1"


@pytest.fixture
def days(store: ModelStore, key: ModelKey) -> Callable[..., None]:
    """Return a function that saves the models of days in February 2013."""

    def save(*numbers: int, **other: Any) -> None:
        for number in numbers:
            store.save(replace(key, tick=datetime(2013, 2, number, tzinfo=UTC), **other), {"m": number}, {})

    return save


def tidied(store: ModelStore, keep: int = 9, shards: int = 1, before: datetime = LATER) -> list[str]:
    return tidy(store.files, "flights", keep, HASH, shards, before)


def test_versions_of_other_configs_and_beyond_the_newest_go(store: ModelStore, days: Callable[..., None]) -> None:
    days(1, 2, 3)
    days(2, 9, config_hash="other")
    days(9, metric_batch="flights2", config_hash="other")
    # Versions of another config do not count: else they would push out those that are read.
    assert tidied(store, keep=2) == [
        f"flights/20130201T000000Z-{HASH}",
        "flights/20130202T000000Z-other",
        "flights/20130209T000000Z-other",
    ]
    assert [tick.day for tick, _ in store.versions("flights")] == [2, 3]
    assert len(store.versions("flights2")) == 1
    assert tidied(store, keep=2) == []


def test_what_was_written_lately_is_not_touched(store: ModelStore, days: Callable[..., None], root: Path) -> None:
    days(1, 2)
    days(3, config_hash="other")
    days(2, shard=1, shards=2)
    before = sorted(root.rglob("*"))
    assert tidied(store, keep=1, before=YESTERDAY) == []
    assert sorted(root.rglob("*")) == before
    # One young file among old ones, of a writer who is not done, keeps them all.
    for path in root.rglob("*.json"):
        os.utime(path, (0, 0))
    assert tidied(store, keep=1, before=YESTERDAY) == []


def test_shards_of_another_number_go(store: ModelStore, days: Callable[..., None], key: ModelKey) -> None:
    days(8, shard=0, shards=2)
    days(8, shard=1, shards=2)
    days(8, shard=2, shards=3)
    days(8)
    folder = key.folder.rpartition("/")[0]
    assert tidied(store, shards=2) == [f"{folder}/0-of-1", f"{folder}/2-of-3"]
    assert store.load(replace(key, shard=1, shards=2)) is not None


def test_abandoned_writes_go_and_the_models_stay(
    store: ModelStore, days: Callable[..., None], key: ModelKey, root: Path
) -> None:
    store.save(key, {"m": 1}, {})
    store.save(key, {"m": 2}, {})  # names its object, and leaves that of the first without a name
    shard = root / key.folder
    (shard / ".models-1234.bin.5678.tmp").write_bytes(b"half")
    days(7)
    (root / f"flights/20130207T000000Z-{HASH}/0-of-1/manifest.json").unlink()  # never finished
    removed = tidied(store)
    assert len(removed) == 3
    assert f"{key.folder}/.models-1234.bin.5678.tmp" in removed
    assert sorted(path.suffix for path in shard.iterdir()) == [".bin", ".json"]
    bundle = store.load(key)
    assert bundle is not None
    assert bundle.models == {"m": 2}
    assert tidied(store) == []


def test_a_manifest_that_cannot_be_read_keeps_its_files(store: ModelStore, key: ModelKey, root: Path) -> None:
    store.save(key, {"m": 1}, {})
    for text in ("{", "[]", "{}", '"x"'):
        (root / key.folder / "manifest.json").write_text(text)
        assert tidied(store) == []


def test_other_names_are_left_alone(store: ModelStore, days: Callable[..., None], root: Path) -> None:
    days(1)
    for name in ("README", "20130201", "20139999T000000Z-x", f"20130201T000000Z-{HASH}/notes"):
        (root / "flights" / name).mkdir()
        (root / "flights" / name / "mine.txt").write_text("mine")
    assert tidied(store) == []
    assert len(list(root.rglob("mine.txt"))) == 4


def test_a_store_that_does_not_tell_times_keeps_what_it_has(
    store: ModelStore, days: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    days(1, config_hash="other")

    def untold(path: str) -> datetime:
        raise NotImplementedError

    monkeypatch.setattr(store.files._fs, "modified", untold)
    assert tidied(store) == []


def test_a_batch_without_models(store: ModelStore) -> None:
    assert tidied(store) == []
    assert store.versions("flights") == []


def test_a_plot_is_one_file_beside_the_models(store: ModelStore, root: Path) -> None:
    assert load_plot(store.files, "a/b 🎉") is None
    for picture in (b"one", b"two"):
        path = save_plot(store.files, "a/b 🎉", picture)
    assert load_plot(store.files, "a/b 🎉") == b"two"
    assert [str(file) for file in root.rglob("*") if file.is_file()] == [path.removeprefix("file://")]
    assert path.endswith("/plots/a%2Fb%20%F0%9F%8E%89/latest.png")


def test_a_probe_leaves_nothing(store: ModelStore, root: Path) -> None:
    probe(store.files)
    assert [path for path in root.rglob("*") if path.is_file()] == []


def test_a_probe_of_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="model store"):
        probe(ModelStore(tmp_path / "file" / "models").files)


def test_a_probe_that_does_not_read_back(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Files, "read", lambda self, path: b"something else")
    with pytest.raises(OSError, match="does not read back"):
        probe(store.files)
