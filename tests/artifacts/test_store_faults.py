"""A model store that refuses, is full, does not answer or hangs up: one test per fault, on a real S3 server and a disk.

What holds in each: training says so and fails, the models that were good stay in use, and scoring goes on with models
that it trains itself as of the same ticks, so that its numbers are those of a store that works.
"""

from __future__ import annotations

import multiprocessing
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anomstack_provider.artifacts.model_store import (
    ModelKey,
    ModelRefused,
    ModelStore,
    ModelStoreUnavailable,
    open_model_store,
)
from tests.faulty_proxy import Fault, FaultyProxy
from tests.object_store_fixtures import BUCKET, READER, SECRET, StoredBatch, client, connection

Build = Callable[..., StoredBatch]
UNAVAILABLE = {"model_store": "unavailable"}


@pytest.fixture
def behind_proxy(batch: Build, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch, request: Any) -> StoredBatch:
    """A batch with models in S3 behind the proxy: those of 1 and 2 March are stored, and their scores."""
    name = f"store_{proxy.server.server_port}"  # Airflow keeps the file system of a connection as long as a process
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", connection(proxy.url, tries=1))
    made = batch(f"s3://{name}@{BUCKET}/{request.node.name}/models")
    made.train(1)
    made.train(2)
    assert made.score(2).facts == {}
    return made


WRITES = {
    "403": (Fault(status=403), "does not let us write"),
    "404": (Fault(status=404), "Check that the bucket or share of model_path exists"),
    "500": (Fault(status=500), "Check model_path and its connection"),
    "503": (Fault(status=503), "Check model_path and its connection"),
    "507, full": (Fault(status=507), r"507.*Check model_path and its connection"),
    "cut in the middle": (Fault(cut_after=1000), "Check model_path and its connection"),
    "cut before the first byte": (Fault(cut_after=0), "Check model_path and its connection"),
    "no answer": (Fault(stalls=True), "no answer within 1 seconds"),
}


@pytest.mark.parametrize("file", [".bin", "manifest.json"])
@pytest.mark.parametrize(("fault", "message"), WRITES.values(), ids=WRITES)
def test_a_write_that_fails(
    fault: Fault,
    message: str,
    file: str,
    behind_proxy: StoredBatch,
    proxy: FaultyProxy,
    as_in_a_folder: list[Any],
) -> None:
    behind_proxy.patience = 1 if fault.stalls else None
    if file == "manifest.json" and fault.cut_after:
        fault = Fault(cut_after=100)  # it is short
    proxy.fails(fault, "PUT", path=file)
    with pytest.raises(ModelStoreUnavailable, match=message) as failed:
        behind_proxy.train(3)
    assert behind_proxy.spec.model_path.split("@")[0] in str(failed.value)
    assert SECRET not in str(failed.value)
    result = behind_proxy.score(3)
    assert set(result.outcomes.values()) == {"scored (seasonal)"}
    assert result.facts == UNAVAILABLE
    assert behind_proxy.scores() == as_in_a_folder

    proxy.works()
    good = behind_proxy.stores.models
    assert good.load(key_of(behind_proxy, 2)) is not None
    assert good.load(key_of(behind_proxy, 3)) is None
    assert behind_proxy.score(3).facts == {}
    assert good.load(key_of(behind_proxy, 3)) is not None
    assert behind_proxy.scores() == as_in_a_folder


def key_of(batch: StoredBatch, day: int) -> ModelKey:
    from anomstack_provider.steps.train import model_key
    from tests.object_store_fixtures import march

    return model_key(batch.spec, march(day).start)


READS = {
    "403": (Fault(status=403), ("GET", "HEAD"), "does not let us look at"),
    "500": (Fault(status=500), ("GET", "HEAD"), "Check model_path and its connection"),
    "503": (Fault(status=503), ("GET", "HEAD"), "Check model_path and its connection"),
    "403 of the content": (Fault(status=403), ("GET",), "does not let us read"),
    "500 of the content": (Fault(status=500), ("GET",), "Check model_path and its connection"),
    "cut in the middle": (Fault(cut_after=100, of_answer=True), ("GET",), "Check model_path and its connection"),
    "no answer": (Fault(stalls=True), ("GET", "HEAD"), "no answer within 1 seconds"),
}


@pytest.mark.parametrize(("fault", "methods", "message"), READS.values(), ids=READS)
def test_a_read_that_fails(
    fault: Fault,
    methods: tuple[str, ...],
    message: str,
    behind_proxy: StoredBatch,
    proxy: FaultyProxy,
    as_in_a_folder: list[Any],
    endpoint: str,
) -> None:
    behind_proxy.train(3)
    behind_proxy.patience = 1 if fault.stalls else None
    stored = objects(endpoint, behind_proxy)
    proxy.fails(fault, *methods)
    with pytest.raises(ModelStoreUnavailable, match=message):
        behind_proxy.stores.models.load(key_of(behind_proxy, 3))
    proxy.requests.clear()
    started = time.monotonic()
    assert behind_proxy.score(3).facts == UNAVAILABLE
    assert time.monotonic() - started < 15
    assert {method for method, _ in proxy.requests} <= {"GET", "HEAD"}  # nothing that may be good is replaced
    assert behind_proxy.scores() == as_in_a_folder
    assert objects(endpoint, behind_proxy) == stored


def objects(endpoint: str, batch: StoredBatch) -> dict[str, str]:
    """The objects of a batch, by name, with the hash of their content."""
    prefix = batch.spec.model_path.partition(f"{BUCKET}/")[2]
    listed = client(endpoint).list_objects_v2(Bucket=BUCKET, Prefix=prefix + "/")
    return {found["Key"]: found["ETag"] for found in listed["Contents"]}


def test_a_store_that_fails_is_asked_once_per_run(behind_proxy: StoredBatch, proxy: FaultyProxy) -> None:
    """A week of buckets is a week of models; each with its patience would be a long wait."""
    proxy.fails(Fault(status=403))
    proxy.requests.clear()
    behind_proxy.spec = behind_proxy.spec.model_copy(update={"score_max_n": 7})
    assert behind_proxy.score(9).facts == UNAVAILABLE
    assert len(behind_proxy.scores()) == 2 * 9
    assert len(proxy.requests) == 1


def test_the_object_is_lost(behind_proxy: StoredBatch, proxy: FaultyProxy, endpoint: str) -> None:
    """404 for the object that the manifest names is a refusal: the same models are trained and stored again."""
    before = objects(endpoint, behind_proxy)
    (lost,) = (name for name in before if "20240302" in name and name.endswith(".bin"))
    client(endpoint).delete_object(Bucket=BUCKET, Key=lost)
    with pytest.raises(ModelRefused, match="it is missing"):
        behind_proxy.stores.models.load(key_of(behind_proxy, 2))
    assert behind_proxy.score(2).facts == {}
    assert objects(endpoint, behind_proxy) == before


def test_the_bucket_is_gone(behind_proxy: StoredBatch, proxy: FaultyProxy) -> None:
    """Every request is answered with 404: no models, and no place for new ones."""
    proxy.fails(Fault(status=404))
    assert behind_proxy.stores.models.load(key_of(behind_proxy, 2)) is None
    with pytest.raises(ModelStoreUnavailable, match="Check that the bucket or share of model_path exists"):
        behind_proxy.train(2)
    assert behind_proxy.score(2).facts == UNAVAILABLE


def test_models_that_cannot_be_removed(behind_proxy: StoredBatch, proxy: FaultyProxy, endpoint: str) -> None:
    """Training has stored what it should, and fails all the same: the store fills up until somebody looks."""
    behind_proxy.spec = behind_proxy.spec.model_copy(update={"model_keep_versions": 1})
    proxy.fails(Fault(status=403), "DELETE", "POST")
    with pytest.raises(ModelStoreUnavailable, match=r"does not let us remove .*20240301T000000Z"):
        behind_proxy.train(3)
    assert behind_proxy.ticks()[-1] == 3
    assert behind_proxy.score(3).facts == {}
    proxy.works()
    behind_proxy.train(4)
    assert {name.split("/")[-3][:8] for name in objects(endpoint, behind_proxy)} == {"20240304"}


def test_models_in_use_are_replaced_as_a_whole_or_not_at_all(
    behind_proxy: StoredBatch, proxy: FaultyProxy, key: ModelKey
) -> None:
    store = behind_proxy.stores.models
    store.save(key, {"m": 1}, {"n": 1})
    large = {"m": np.random.default_rng(1).normal(size=50_000)}
    for fault in (Fault(cut_after=100), Fault(status=500)):
        for path in (".bin", "manifest.json"):
            proxy.fails(fault, "PUT", path=path)
            with pytest.raises(ModelStoreUnavailable):
                store.save(key, large, {"n": 2})
            bundle = store.load(key)
            assert bundle is not None
            assert bundle.models == {"m": 1}
    proxy.works()
    store.save(key, large, {"n": 2})
    assert store.find(key).facts == {"n": 2}


def test_credentials_that_may_only_read(
    batch: Build, endpoint: str, monkeypatch: pytest.MonkeyPatch, as_in_a_folder: list[Any]
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_STORE_OF_WRITER", connection(endpoint))
    monkeypatch.setenv("AIRFLOW_CONN_STORE_OF_READER", connection(endpoint, *READER))
    writer = batch(f"s3://store_of_writer@{BUCKET}/only-read/models")
    path = writer.spec.model_path.replace("writer", "reader")
    reader = replace(writer, spec=writer.spec.model_copy(update={"model_path": path}))
    writer.train(1)
    writer.train(2)
    assert reader.score(2).facts == {}  # it has all it needs
    with pytest.raises(ModelStoreUnavailable, match=r"does not let us write s3://store_of_reader@") as refused:
        reader.train(3)
    assert READER[1] not in str(refused.value)
    assert reader.score(3).facts == UNAVAILABLE
    assert reader.scores() == as_in_a_folder
    assert reader.ticks() == [1, 2]


# A disk


def save_within(root: Path, key: ModelKey, limit: int, outcome: Any) -> None:
    """Save in a process that may write files of ``limit`` bytes, as on a disk with no more room."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        ModelStore(root).save(key, {"m": np.random.default_rng(1).normal(size=50_000)}, {})
    except ModelStoreUnavailable as full:
        outcome.send(str(full))


@pytest.mark.parametrize("limit", [0, 100, 100_000])
def test_a_full_disk(store: ModelStore, key: ModelKey, root: Path, limit: int) -> None:
    store.save(key, {"m": "good"}, {})
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    context = multiprocessing.get_context("fork")
    said, outcome = context.Pipe(duplex=False)
    process = context.Process(target=save_within, args=(root, key, limit, outcome))
    process.start()
    process.join()
    assert said.poll()
    text = said.recv()
    assert str(root) in text
    assert "File too large" in text
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before  # no rest takes up room
    bundle = store.load(key)
    assert bundle is not None
    assert bundle.models == {"m": "good"}


def test_scoring_without_a_disk(batch: Build, tmp_path: Path, as_in_a_folder: list[Any]) -> None:
    (tmp_path / "file").write_text("where the folder should be")
    made = batch(str(tmp_path / "file" / "models"))
    for day in (2, 3):
        with pytest.raises(ModelStoreUnavailable, match="Not a directory"):
            made.train(day)
        assert made.score(day).facts == UNAVAILABLE
    assert made.scores() == as_in_a_folder


def test_a_store_that_hangs_is_not_waited_for_longer_than_its_patience(
    key: ModelKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any store of fsspec, whatever its own library thinks of time."""
    store = open_model_store("memory://hangs/models", str(tmp_path))
    store.save(key, {"m": 1}, {})
    store.files.patience = 0.2
    # fsspec keeps one file system in memory for all who ask: it is put back.
    monkeypatch.setattr(store.files._fs, "cat_file", lambda path: time.sleep(2))
    started = time.monotonic()
    with pytest.raises(ModelStoreUnavailable, match=r"memory://hangs/models.*no answer within"):
        store.load(key)
    assert time.monotonic() - started < 1.5
