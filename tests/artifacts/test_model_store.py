"""Saving, loading, refusing and pruning on local files."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomstack_provider.artifacts.errors import UnsupportedModel
from anomstack_provider.artifacts.files import Files
from anomstack_provider.artifacts.key import quote_batch
from anomstack_provider.artifacts.manifest import versions
from anomstack_provider.artifacts.model_store import ModelKey, ModelRefused, ModelStore, ModelStoreUnavailable

Array = np.ndarray[Any, Any]
Planter = Callable[..., Path]
FACTS = {"outcomes": {"departures": "trained", "übér/'x'": "learning 9/14"}, "window": [1, 2.5, None]}
ODD_NAMES = [
    "/ ' . ..",
    "..",
    ".",
    ".hidden",
    "a/../../b",
    "",
    " ",
    "~",
    "100%",
    "naïve \U0001f6eb",
    "a" * 200,
    "\U0001f6eb" * 200,
]
ODD_NAMES += ["a\\b", "line\nbreak", "*?[x]", "nul\0", "%2E%2E", "C:", "trailing.", "\ud800"]


def test_saved_and_loaded(store: ModelStore, key: ModelKey, root: Path, knn: Any, other_rows: Array) -> None:
    manifest = store.save(key, {"departures": knn, "/ ' . .. \U0001f6eb": {"m": np.float64(2)}}, FACTS)
    bundle = store.load(key)
    assert bundle is not None
    assert bundle.manifest == manifest == store.find(key)
    assert list(bundle.models) == ["/ ' . .. \U0001f6eb", "departures"]
    loaded: Any = bundle.models["departures"]
    np.testing.assert_array_equal(loaded.decision_function(other_rows), knn.decision_function(other_rows))

    folder = root / "flights" / "20130208T000000Z-0123abcd-r1" / "0-of-1"
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", manifest.object]
    data = (folder / manifest.object).read_bytes()
    assert manifest.sha256 == hashlib.sha256(data).hexdigest()
    assert manifest.object == f"models-{manifest.sha256[:16]}.bin"
    assert manifest.size == len(data)
    assert manifest.created_by == versions()
    assert manifest.facts == FACTS
    assert set(versions()) == {"python", "numpy", "pyod", "scikit-learn"}


def test_none_before_anything_is_saved(store: ModelStore, key: ModelKey, root: Path) -> None:
    assert store.load(key) is None
    assert store.find(key) is None
    assert store.prune("flights", 1) == []
    assert not root.exists()


def test_each_key_has_its_own_models(store: ModelStore, key: ModelKey) -> None:
    keys = [
        key,
        replace(key, metric_batch="other"),
        replace(key, tick=key.tick + timedelta(seconds=1)),
        replace(key, config_hash="another"),
        replace(key, shard=0, shards=2),
        replace(key, shard=1, shards=2),
    ]
    for number, one in enumerate(keys):
        assert store.load(one) is None
        store.save(one, {"m": number}, {})
    assert [loaded.models for one in keys if (loaded := store.load(one))] == [{"m": n} for n in range(len(keys))]


def test_the_same_models_are_the_same_files(store: ModelStore, key: ModelKey, root: Path, knn: Any) -> None:
    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}

    store.save(key, {"m": knn, "n": 1}, FACTS)
    first = files()
    store.save(key, {"n": 1, "m": knn}, dict(reversed(FACTS.items())))
    assert files() == first
    assert len(first) == 2


def test_saving_again_replaces(store: ModelStore, key: ModelKey) -> None:
    store.save(key, {"m": 1}, {"run": 1})
    store.save(key, {"m": 2}, {"run": 2})
    bundle = store.load(key)
    assert bundle is not None
    assert (bundle.models, bundle.manifest.facts) == ({"m": 2}, {"run": 2})


def test_an_empty_shard_is_stored_too(store: ModelStore, key: ModelKey) -> None:
    store.save(key, {}, {})
    bundle = store.load(key)
    assert bundle is not None
    assert bundle.models == {}


def test_a_tick_is_one_moment_in_any_time_zone(store: ModelStore, key: ModelKey) -> None:
    store.save(key, {"m": 1}, {})
    elsewhere = replace(key, tick=key.tick.astimezone(timezone(timedelta(hours=5, minutes=30))))
    assert elsewhere == key
    assert elsewhere.folder == key.folder
    assert store.load(elsewhere) is not None


@pytest.mark.parametrize(
    "wrong",
    [
        {"tick": datetime(2013, 2, 8)},
        {"tick": datetime(2013, 2, 8, microsecond=1, tzinfo=UTC)},
        {"config_hash": ""},
        {"config_hash": "../x"},
        {"config_hash": "a" * 65},
        {"shard": 1},
        {"shard": -1},
        {"shards": 0},
    ],
)
def test_a_key_that_is_none(key: ModelKey, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong)).removesuffix("s")):
        replace(key, **wrong)


@pytest.mark.parametrize("facts", [{"x": float("nan")}, {"x": float("inf")}])
def test_facts_are_json(store: ModelStore, key: ModelKey, root: Path, facts: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="JSON"):
        store.save(key, {"m": 1}, facts)
    with pytest.raises(TypeError, match="JSON"):
        store.save(key, {"m": 1}, {"x": datetime(2013, 2, 8)})
    assert not root.exists()


def test_an_unsupported_model_leaves_nothing(store: ModelStore, key: ModelKey, root: Path) -> None:
    with pytest.raises(UnsupportedModel, match=r"models\['m'\]"):
        store.save(key, {"m": print}, {})
    assert not root.exists()


# Names


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_batch_names(store: ModelStore, key: ModelKey, root: Path, name: str) -> None:
    one = replace(key, metric_batch=name)
    store.save(one, {"m": name}, {})
    bundle = store.load(one)
    assert bundle is not None
    assert bundle.models == {"m": name}
    (batch,) = root.iterdir()
    assert batch.name == quote_batch(name)
    assert not batch.name.startswith(".")
    assert sum(path.is_file() for path in root.parent.rglob("*")) == 2
    store.save(replace(one, tick=key.tick + timedelta(days=1)), {}, {})
    assert store.prune(name, 1) == ["20130208T000000Z-0123abcd-r1"]


def test_odd_batch_names_are_told_apart() -> None:
    assert len({quote_batch(name) for name in ODD_NAMES}) == len(ODD_NAMES)


@given(st.lists(st.text(), unique=True, min_size=2))
def test_any_batch_name(names: list[str]) -> None:
    quoted = [quote_batch(name) for name in names]
    assert len(set(quoted)) == len(names)
    for name in quoted:
        assert 0 < len(name) <= 120
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.%~")
        assert not name.startswith(".")


# Refusals


@pytest.fixture
def saved(store: ModelStore, key: ModelKey, root: Path) -> Path:
    """The folder of a saved shard."""
    store.save(key, {"m": np.arange(50.0)}, FACTS)
    return root / key.folder


def bundle_of(folder: Path) -> Path:
    (path,) = folder.glob("models-*.bin")
    return path


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def refused(store: ModelStore, key: ModelKey, reason: str, path: Path) -> None:
    with pytest.raises(ModelRefused, match=reason) as caught:
        store.load(key)
    assert caught.value.key == key
    assert caught.value.path == str(path)
    assert caught.value.reason in str(caught.value)
    assert "flights" in str(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))  # Airflow and process pools send exceptions around
    assert (str(again), again.key) == (str(caught.value), key)
    # Training again puts it right.
    store.save(key, {"m": 1}, {})
    bundle = store.load(key)
    assert bundle is not None
    assert bundle.models == {"m": 1}


def test_missing_object(store: ModelStore, key: ModelKey, saved: Path) -> None:
    path = bundle_of(saved)
    path.unlink()
    refused(store, key, "missing", path)


@pytest.mark.parametrize("length", [0, 1, 100])
def test_truncated_object(store: ModelStore, key: ModelKey, saved: Path, length: int) -> None:
    path = bundle_of(saved)
    path.write_bytes(path.read_bytes()[:length])
    refused(store, key, rf"{length} bytes instead of \d+: truncated", path)


def test_longer_object(store: ModelStore, key: ModelKey, saved: Path) -> None:
    path = bundle_of(saved)
    path.write_bytes(path.read_bytes() + b"x")
    refused(store, key, "truncated or replaced", path)


def test_one_changed_bit(store: ModelStore, key: ModelKey, saved: Path) -> None:
    path = bundle_of(saved)
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    refused(store, key, "sha256", path)


@pytest.mark.parametrize(
    "other",
    [
        {"metric_batch": "trains"},
        {"tick": datetime(2013, 2, 9, tzinfo=UTC)},
        {"config_hash": "ffff"},
        {"shard": 1, "shards": 2},
        {"shards": 2},
    ],
    ids=lambda other: next(iter(other)),
)
def test_the_files_of_another_key(
    store: ModelStore, key: ModelKey, saved: Path, root: Path, other: dict[str, Any]
) -> None:
    foreign = replace(key, **other)
    shutil.copytree(saved, root / foreign.folder)
    with pytest.raises(ModelRefused, match=r"it belongs to .*flights"):
        store.load(foreign)
    # With a manifest made to fit, the object itself still says whose it is.
    edit(root / foreign.folder, key=foreign.to_dict())
    with pytest.raises(ModelRefused, match="models of another batch, tick, config or shard"):
        store.load(foreign)


def test_an_object_of_another_format(store: ModelStore, key: ModelKey, saved: Path) -> None:
    data = b"PK\x03\x04" + b"some zip" * 20
    digest = hashlib.sha256(data).hexdigest()
    path = saved / f"models-{digest[:16]}.bin"
    path.write_bytes(data)
    edit(saved, object=path.name, sha256=digest, size=len(data))
    refused(store, key, "not a bundle of format 1", path)


def test_damaged_compression(store: ModelStore, key: ModelKey, saved: Path) -> None:
    data = bundle_of(saved).read_bytes()
    data = data[:-30] + b"\xff" * 30
    digest = hashlib.sha256(data).hexdigest()
    path = saved / f"models-{digest[:16]}.bin"
    path.write_bytes(data)
    edit(saved, object=path.name, sha256=digest, size=len(data))
    refused(store, key, "decompress", path)


@pytest.mark.parametrize("library", ["python", "numpy", "scikit-learn", "pyod"])
def test_other_library_versions(store: ModelStore, key: ModelKey, saved: Path, library: str) -> None:
    edit(saved, created_by=versions() | {library: "0.1"})
    reason = rf"made with {library} 0\.1 \(here {versions()[library]}\)"
    with pytest.raises(ModelRefused, match=reason):
        store.find(key)
    refused(store, key, reason, saved / "manifest.json")


def test_a_library_more_or_less(store: ModelStore, key: ModelKey, saved: Path) -> None:
    edit(saved, created_by=versions() | {"torch": "2.0"})
    with pytest.raises(ModelRefused, match=r"torch 2\.0 \(here None\)"):
        store.load(key)
    edit(saved, created_by={})
    refused(store, key, "numpy None", saved / "manifest.json")


@pytest.mark.parametrize("number", [0, 2, "1", None])
def test_another_bundle_format(store: ModelStore, key: ModelKey, saved: Path, number: object) -> None:
    edit(saved, format=number)
    refused(store, key, "this version reads 1", saved / "manifest.json")


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"null", b"7", b"\xff\xfe", b"{}", b"[" * 100_000, b'{"format": 1}', b'{"format": NaN}'],
)
def test_a_manifest_that_is_none(store: ModelStore, key: ModelKey, saved: Path, text: bytes) -> None:
    (saved / "manifest.json").write_bytes(text)
    refused(store, key, ".", saved / "manifest.json")


@pytest.mark.parametrize(
    "change",
    [
        {"size": "12"},
        {"size": True},
        {"size": None},
        {"raw_size": 1.0},
        {"sha256": 5},
        {"facts": []},
        {"created_by": []},
        {"key": "flights"},
        {"object": None},
    ],
    ids=repr,
)
def test_a_manifest_field_of_another_type(
    store: ModelStore, key: ModelKey, saved: Path, change: dict[str, Any]
) -> None:
    edit(saved, **change)
    refused(store, key, f"'{next(iter(change))}' should be of type", saved / "manifest.json")


@pytest.mark.parametrize(
    "name",
    [
        "../secret.bin",
        "/etc/passwd",
        "models-../../../x.bin",
        "",
        ".",
        "manifest.json",
        "s3://bucket/x",
        "models-x\0.bin",
    ],
)
def test_the_object_is_in_the_folder_of_its_manifest(store: ModelStore, key: ModelKey, saved: Path, name: str) -> None:
    (saved.parent / "secret.bin").write_bytes(bundle_of(saved).read_bytes())
    edit(saved, object=name)
    refused(store, key, "not named by its sha256", saved / "manifest.json")


def test_a_huge_manifest_is_not_read(store: ModelStore, key: ModelKey, saved: Path) -> None:
    with (saved / "manifest.json").open("r+b") as file:
        file.truncate(2**40)  # sparse
    with pytest.raises(ModelRefused, match="1099511627776 bytes"):
        store.load(key)


# A store that does not work


def test_a_file_where_a_folder_should_be(store: ModelStore, key: ModelKey, root: Path) -> None:
    root.write_text("not a folder")
    for action in (lambda: store.load(key), lambda: store.save(key, {}, {})):
        with pytest.raises(ModelStoreUnavailable, match=r"Check model_path"):
            action()


@pytest.fixture
def nobody() -> Iterator[None]:
    """Not root, who may write anywhere."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield
    os.seteuid(user)


@pytest.fixture
def read_only(root: Path, store: ModelStore, key: ModelKey) -> Iterator[Path]:
    store.save(key, {}, {})
    for folder in root.parents:
        if folder.owner() == root.owner() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    root.chmod(0o555)
    yield root
    root.chmod(0o755)


@pytest.mark.usefixtures("read_only", "nobody")
def test_a_folder_that_may_not_be_written(store: ModelStore, key: ModelKey) -> None:
    assert store.load(key) is not None
    with pytest.raises(ModelStoreUnavailable, match=r"does not let us write .*other.*Check the credentials"):
        store.save(replace(key, metric_batch="other"), {}, {})


# Crashes and other writers


def in_processes(target: Callable[..., None], *argument_lists: tuple[Any, ...]) -> list[int | None]:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=target, args=arguments) for arguments in argument_lists]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def save_and_be_killed(root: Path, key: ModelKey, before: str) -> None:
    replace_file = Files.replace

    def killed_before(self: Files, relative: str, data: bytes) -> None:
        if before in relative:
            os.kill(os.getpid(), signal.SIGKILL)
        replace_file(self, relative, data)

    Files.replace = killed_before  # type: ignore[method-assign]
    ModelStore(root).save(key, {"m": "unfinished"}, {})


@pytest.mark.parametrize("before", ["models-", "manifest.json"])
def test_killed_before_the_manifest(store: ModelStore, key: ModelKey, root: Path, before: str) -> None:
    assert in_processes(save_and_be_killed, (root, key, before)) == [-signal.SIGKILL]
    assert len(list(root.rglob("models-*.bin"))) == (before == "manifest.json")
    assert store.load(key) is None
    # An older version is not disturbed by it either.
    store.save(key, {"m": "finished"}, {})
    assert in_processes(save_and_be_killed, (root, key, before)) == [-signal.SIGKILL]
    bundle = store.load(key)
    assert bundle is not None
    assert bundle.models == {"m": "finished"}


def test_a_half_written_file_is_never_seen(store: ModelStore, key: ModelKey, root: Path) -> None:
    store.save(key, {"m": 1}, {})
    (root / key.folder / ".manifest.json.0.tmp").write_text("{half")
    bundle = store.load(key)
    assert bundle is not None
    store.save(replace(key, tick=key.tick + timedelta(days=1)), {}, {})
    store.prune("flights", 1)
    assert not (root / key.folder).exists()


def save_often(root: Path, key: ModelKey, number: int) -> None:
    store = ModelStore(root)
    models = {"m": np.full(20_000, number), "n": number}
    for _ in range(40):
        store.save(key, models, {"number": number})


def load_often(root: Path, key: ModelKey) -> None:
    store = ModelStore(root)
    found = 0
    while found < 100:
        bundle = store.load(key)  # a refusal ends this process with an error
        if bundle is not None:
            values: Any = bundle.models["m"]
            assert set(values.tolist()) == {bundle.models["n"]} == {bundle.manifest.facts["number"]}
            found += 1


def test_writers_and_readers_at_once(root: Path, key: ModelKey) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=save_often, args=(root, key, number)) for number in (1, 2, 3)]
    workers += [context.Process(target=load_often, args=(root, key)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 5
    assert not list(root.rglob("*.tmp"))


# Pruning


def days(store: ModelStore, key: ModelKey, *numbers: int, **other: Any) -> None:
    for number in numbers:
        store.save(replace(key, tick=datetime(2013, 2, number, tzinfo=UTC), **other), {"m": number}, {})


def left(root: Path, batch: str = "flights") -> list[str]:
    return sorted(path.name for path in (root / batch).iterdir())


def test_prune_keeps_the_newest_ticks(store: ModelStore, key: ModelKey, root: Path) -> None:
    days(store, key, 3, 1, 5, 2, 4)
    days(store, key, 1, 2, metric_batch="flights2")
    assert store.prune("flights", 5) == []
    assert store.prune("flights", 3) == ["20130201T000000Z-0123abcd-r1", "20130202T000000Z-0123abcd-r1"]
    assert left(root) == [f"2013020{day}T000000Z-0123abcd-r1" for day in (3, 4, 5)]
    assert len(left(root, "flights2")) == 2
    assert store.load(replace(key, tick=datetime(2013, 2, 2, tzinfo=UTC))) is None
    assert store.load(replace(key, tick=datetime(2013, 2, 3, tzinfo=UTC))) is not None


def test_prune_counts_ticks_and_not_configs_or_shards(store: ModelStore, key: ModelKey, root: Path) -> None:
    days(store, key, 1, 2, 3)
    days(store, key, 1, 3, config_hash="other")
    days(store, key, 3, shard=1, shards=2)
    assert store.prune("flights", 2) == ["20130201T000000Z-0123abcd-r1", "20130201T000000Z-other"]
    assert len(left(root)) == 3


def test_prune_leaves_what_it_does_not_know(store: ModelStore, key: ModelKey, root: Path) -> None:
    days(store, key, 1, 2)
    foreign = ["README", "20130201", "20139999T000000Z-x", "x20130201T000000Z-y", "20130101T000000Z-", "1-2"]
    for name in foreign:
        (root / "flights" / name).mkdir()
    (root / "flights" / "notes.txt").write_text("mine")
    assert store.prune("flights", 1) == ["20130201T000000Z-0123abcd-r1"]
    assert left(root) == sorted([*foreign, "notes.txt", "20130202T000000Z-0123abcd-r1"])


def test_prune_also_removes_unfinished_versions(store: ModelStore, key: ModelKey, root: Path) -> None:
    days(store, key, 1, 2)
    (root / replace(key, tick=datetime(2013, 2, 1, tzinfo=UTC)).folder / "manifest.json").unlink()
    assert len(store.prune("flights", 1)) == 1
    assert len(left(root)) == 1


@pytest.mark.parametrize("keep", [0, -1])
def test_prune_keeps_at_least_one(store: ModelStore, keep: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        store.prune("flights", keep)


def test_a_folder_that_vanishes_while_pruning(
    store: ModelStore, key: ModelKey, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    days(store, key, 1, 2, 3, 4)
    remove = Files.remove_folder

    def removed_meanwhile(self: Files, relative: str, *, first: str) -> None:
        if "20130201" in relative:
            shutil.rmtree(root / relative)
        remove(self, relative, first=first)

    monkeypatch.setattr(Files, "remove_folder", removed_meanwhile)
    assert len(store.prune("flights", 1)) == 3
    assert len(left(root)) == 1


def prune_often(root: Path) -> None:
    store = ModelStore(root)
    for _ in range(30):
        store.prune("flights", 1)


def save_many(root: Path, key: ModelKey) -> None:
    store = ModelStore(root)
    for number in range(60):
        days(store, key, 1 + number % 27)


def test_pruning_while_others_save_and_prune(root: Path, store: ModelStore, key: ModelKey) -> None:
    days(store, key, 28)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=prune_often, args=(root,)) for _ in range(2)]
    workers += [context.Process(target=save_many, args=(root, key)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    newest = store.load(replace(key, tick=datetime(2013, 2, 28, tzinfo=UTC)))
    assert newest is not None
    store.prune("flights", 1)
    assert left(root) == ["20130228T000000Z-0123abcd-r1"]


def test_nothing_here_reads_the_clock() -> None:
    folder = Path(sys.modules[ModelStore.__module__].__file__ or "").parent
    for path in folder.glob("*.py"):
        source = path.read_text()
        assert not any(word in source for word in ("now(", "time.time", "utcnow", "today(", "import time"))
