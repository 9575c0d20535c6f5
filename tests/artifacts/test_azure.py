"""Azure's own emulator, which asks for the key of an account, reached through an Airflow connection."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from anomstack_provider.artifacts.model_store import ModelKey, ModelStoreUnavailable, open_model_store
from tests.object_store_fixtures import StoredBatch, answers, free_ports, works

pytestmark = pytest.mark.objectstore

ACCOUNT, CONTAINER = "models", "model-container"
KEY, WRONG = (base64.b64encode(text * 4).decode() for text in (b"right key", b"wrong key"))


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an Azurite server with one account and one container."""
    command = shutil.which("azurite-blob")
    assert command, "azurite is not installed: make test-object-stores installs it"
    folder = tmp_path_factory.mktemp("azurite")
    (port,) = free_ports(1)
    options = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder)]
    options += ["--silent", "--disableTelemetry", "--skipApiVersionCheck"]
    environment = {**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}
    url = f"http://127.0.0.1:{port}/{ACCOUNT}"
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([command, *options], stdout=log, stderr=log, env=environment)
        try:
            deadline = time.monotonic() + 60
            while not answers(url):
                assert server.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
            client(url).create_container()
            yield url
        finally:
            server.kill()
            server.wait()


def connection_string(url: str, key: str) -> str:
    return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};BlobEndpoint={url};"


def client(url: str) -> Any:
    from azure.storage.blob import ContainerClient

    return ContainerClient.from_connection_string(connection_string(url, KEY), CONTAINER)


@pytest.fixture
def connected(azurite: str, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, key in (("AZURE_STORE", KEY), ("AZURE_STRANGER", WRONG)):
        extra = {"connection_string": connection_string(azurite, key)}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps({"conn_type": "wasb", "extra": extra}))
    return azurite


@pytest.mark.parametrize("scheme", ["abfs", "az", "abfss"])
def test_saved_loaded_and_pruned(connected: str, key: ModelKey, scheme: str) -> None:
    works(open_model_store(f"{scheme}://azure_store@{CONTAINER}/{scheme}/models", "/nowhere"), key)
    names = [blob.name for blob in client(connected).list_blobs(name_starts_with=f"{scheme}/")]
    assert len([name for name in names if name.endswith((".bin", "manifest.json"))]) == 2


def test_trained_and_scored(
    connected: str, batch: Callable[[str], StoredBatch], as_in_a_folder: list[tuple[Any, ...]]
) -> None:
    made = batch(f"abfs://azure_store@{CONTAINER}/whole/models")
    for day in (2, 3):
        made.train(day)
        assert made.score(day).facts == {}
    assert made.scores() == as_in_a_folder
    assert made.ticks() == [1, 2, 3]


def test_another_key_is_refused(
    connected: str,
    key: ModelKey,
    batch: Callable[[str], StoredBatch],
    as_in_a_folder: list[tuple[Any, ...]],
) -> None:
    store = open_model_store(f"abfs://azure_stranger@{CONTAINER}/models", "/nowhere")
    for action in (lambda: store.load(key), lambda: store.save(key, {}, {}), lambda: store.prune("flights", 1)):
        with pytest.raises(
            ModelStoreUnavailable, match=r"does not let us .*abfs://azure_stranger@model-container"
        ) as refused:
            action()
        assert WRONG not in str(refused.value)
    made = batch(f"abfs://azure_stranger@{CONTAINER}/models")
    with pytest.raises(ModelStoreUnavailable):
        made.train(2)
    for day in (2, 3):
        assert made.score(day).facts == {"model_store": "unavailable"}
    assert made.scores() == as_in_a_folder


def test_a_container_that_does_not_exist(connected: str, key: ModelKey) -> None:
    store = open_model_store("abfs://azure_store@nowhere/models", "/nowhere")
    assert store.load(key) is None
    with pytest.raises(ModelStoreUnavailable, match="Check that the bucket or share of model_path exists"):
        store.save(key, {}, {})
