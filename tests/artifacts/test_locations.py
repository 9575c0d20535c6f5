"""What ``model_path`` may say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anomstack_provider.artifacts.model_store import ModelKey, ModelStore, ModelStoreUnavailable, open_model_store


def works(store: ModelStore, key: ModelKey) -> bool:
    store.save(key, {"m": 1}, {})
    bundle = store.load(key)
    assert bundle is not None
    return bundle.models == {"m": 1}


@pytest.mark.parametrize(
    ("model_path", "folder"),
    [
        ("local://./models", "models"),
        ("local://models/x/", "models/x"),
        ("file://models", "models"),
        ("models", "models"),
        ("./a/../models", "models"),
        ("odd # ? %20 ü 'x' [y]", "odd # ? %20 ü 'x' [y]"),
        ("..", ".."),
    ],
)
def test_relative_to_the_home(model_path: str, folder: str, tmp_path: Path, key: ModelKey) -> None:
    home = tmp_path / "air flow" / "home"
    assert works(open_model_store(model_path, str(home)), key)
    assert (home / folder / key.folder / "manifest.json").resolve().exists() or (
        (home.parent / key.folder / "manifest.json").exists() and folder == ".."
    )


@pytest.mark.parametrize("scheme", ["", "file://", "local://"])
def test_absolute(scheme: str, tmp_path: Path, key: ModelKey) -> None:
    store = open_model_store(f"{scheme}{tmp_path}/deep/models", "/nowhere")
    assert works(store, key)
    assert (tmp_path / "deep" / "models" / key.folder / "manifest.json").exists()


def test_the_same_folder_by_another_name(tmp_path: Path, key: ModelKey) -> None:
    assert works(open_model_store("local://./models", str(tmp_path)), key)
    assert open_model_store("models", str(tmp_path)).load(key) is not None
    assert ModelStore(tmp_path / "models").load(key) is not None


def test_any_other_store_of_fsspec(tmp_path: Path, key: ModelKey) -> None:
    store = open_model_store("memory://somewhere/models", str(tmp_path))
    assert store.load(key) is None
    assert works(store, key)
    assert store.prune(key.metric_batch, 1) == []
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("model_path", ["", "local://", "s3://"])
def test_no_place_at_all(model_path: str) -> None:
    with pytest.raises(ValueError, match="names no place"):
        open_model_store(model_path, "/nowhere")


def test_an_unknown_scheme() -> None:
    with pytest.raises(ModelStoreUnavailable, match=r"nothing://x/y.*Check"):
        open_model_store("nothing://x/y", "/nowhere")


def test_a_connection_that_does_not_exist() -> None:
    with pytest.raises(ModelStoreUnavailable, match=r"memory://mistyped@x/y.*Check the connection id"):
        open_model_store("memory://mistyped@x/y", "/nowhere")


def test_a_store_that_airflow_does_not_know_gets_what_a_connection_says(
    tmp_path: Path, key: ModelKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fsspec's `dir` keeps files in a folder of another file system: both come from the connection's extra."""
    inside = {"path": str(tmp_path / "deep"), "target_protocol": "file"}
    monkeypatch.setenv("AIRFLOW_CONN_A_FOLDER", json.dumps({"conn_type": "generic", "extra": inside}))
    assert works(open_model_store("dir://a_folder@/models", "/nowhere"), key)
    assert (tmp_path / "deep" / "models" / key.folder / "manifest.json").exists()
