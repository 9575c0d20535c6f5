"""Model stores on a local folder, a key, fitted detectors, and bundles planted by someone else than the store."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anomstack_provider.artifacts.model_store import ModelKey, ModelStore

TICK = datetime(2013, 2, 8, tzinfo=UTC)
FACTS = {"outcomes": {"departures": "trained", "übér/'x'": "learning 9/14"}, "window": [1, 2.5, None]}

Planter = Callable[..., Path]


@pytest.fixture
def key() -> ModelKey:
    return ModelKey("flights", TICK, "0123abcd-r1")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def store(root: Path) -> ModelStore:
    return ModelStore(root)


@pytest.fixture(scope="session")
def rows() -> np.ndarray[Any, Any]:
    """300 x 6 values to fit on."""
    return np.random.default_rng(1).normal(size=(300, 6))


@pytest.fixture(scope="session")
def other_rows() -> np.ndarray[Any, Any]:
    """25 x 6 values that no detector has seen."""
    return np.random.default_rng(2).normal(size=(25, 6)) * 2


@pytest.fixture(scope="session")
def knn(rows: np.ndarray[Any, Any]) -> Any:
    from pyod.models.knn import KNN

    return KNN(contamination=0.01).fit(rows)


@pytest.fixture
def plant(root: Path, store: ModelStore, key: ModelKey) -> Planter:
    """Store any pickle under ``key`` as a bundle that is right in every other respect, and return its folder."""

    def planted(raw: bytes, **manifest: Any) -> Path:
        store.save(key, {}, FACTS)
        folder = root / key.folder
        magic = next(folder.glob("models-*.bin")).read_bytes().split(b"\n")[0]
        data = b"\n".join((magic, key.label.encode(), zlib.compress(raw)))
        digest = hashlib.sha256(data).hexdigest()
        true = {
            "object": f"models-{digest[:16]}.bin",
            "sha256": digest,
            "size": len(data),
            "raw_size": len(raw),
        }
        written = json.loads((folder / "manifest.json").read_text()) | true | manifest
        (folder / f"models-{digest[:16]}.bin").write_bytes(data)
        (folder / "manifest.json").write_text(json.dumps(written))
        return folder

    return planted
