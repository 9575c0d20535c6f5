"""A store that Airflow's providers do not know and fsspec does: an FTP server, through an Airflow connection."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from anomstack_provider.artifacts.model_store import ModelKey, ModelRefused, ModelStoreUnavailable, open_model_store
from tests.object_store_fixtures import StoredBatch, works

pytestmark = pytest.mark.objectstore

LOGIN, PASSWORD = "models", "ftp-secret"


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of an FTP server that knows one login."""
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.servers import ThreadedFTPServer

    folder = tmp_path / "served"
    folder.mkdir()
    known = DummyAuthorizer()
    known.add_user(LOGIN, PASSWORD, str(folder), perm="elradfmwMT")
    handler: Any = type("Handler", (FTPHandler,), {"authorizer": known, "auth_failed_timeout": 0})
    server = ThreadedFTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"handle_exit": False}, daemon=True)
    thread.start()
    for name, password in (("FTP_STORE", PASSWORD), ("FTP_STRANGER", "wrong-secret")):
        there = {"host": "127.0.0.1", "port": server.address[1], "login": LOGIN, "password": password}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps({"conn_type": "ftp", **there}))
    yield folder
    server.close_all()
    thread.join(10)


def test_saved_loaded_and_pruned(served: Path, key: ModelKey) -> None:
    works(open_model_store("ftp://ftp_store@/deep/models", "/nowhere"), key, tells_times=False)
    assert (served / "deep" / "models" / key.folder / "manifest.json").exists()


@pytest.mark.usefixtures("served")
def test_trained_and_scored(batch: Callable[[str], StoredBatch], as_in_a_folder: list[tuple[Any, ...]]) -> None:
    made = batch("ftp://ftp_store@/models")
    for day in (2, 3):
        made.train(day)
        assert made.score(day).facts == {}
    assert made.scores() == as_in_a_folder
    assert made.ticks() == [1, 2, 3]


@pytest.mark.usefixtures("served")
def test_another_password_is_refused(
    key: ModelKey, batch: Callable[[str], StoredBatch], as_in_a_folder: list[tuple[Any, ...]]
) -> None:
    store = open_model_store("ftp://ftp_stranger@/models", "/nowhere")
    for action in (lambda: store.load(key), lambda: store.save(key, {}, {}), lambda: store.prune("flights", 1)):
        with pytest.raises(
            ModelStoreUnavailable, match=r"ftp://ftp_stranger@/models.*Authentication failed"
        ) as refused:
            action()
        assert "wrong-secret" not in str(refused.value)
    made = batch("ftp://ftp_stranger@/models")
    for day in (2, 3):
        assert made.score(day).facts == {"model_store": "unavailable"}
    assert made.scores() == as_in_a_folder


def test_a_file_that_was_cut_off_is_refused_and_made_again(served: Path, key: ModelKey) -> None:
    """Such a server keeps what it got of a file whose writer died."""
    store = open_model_store("ftp://ftp_store@/models", "/nowhere")
    for name in ("manifest.json", "models-*.bin"):
        store.save(key, {"m": 1}, {})
        (path,) = (served / "models" / key.folder).glob(name)
        path.write_bytes(path.read_bytes()[:-10])
        with pytest.raises(ModelRefused):
            store.load(key)
    store.save(key, {"m": 1}, {})
    assert store.load(key) is not None
