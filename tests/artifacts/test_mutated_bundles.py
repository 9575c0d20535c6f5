"""Any change of a stored bundle or manifest: it is refused with a reason, or is as good as it was; nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomstack_provider.artifacts.errors import BadBundle
from anomstack_provider.artifacts.manifest import Manifest, object_name, versions
from anomstack_provider.artifacts.model_store import MANIFEST, ModelKey, ModelRefused, ModelStore
from anomstack_provider.artifacts.serialization import dumps, loads, pack, unpack

KEY = ModelKey("flights", datetime(2013, 2, 8, tzinfo=UTC), "0123abcd-r1")
FACTS = {"outcomes": {"m": "trained"}}
MODELS: dict[str, Any] = {
    "m": {"x": np.arange(20.0), "y": (1, "ü", None, [True, 2.5], {"z": b"0"})},
    "n": np.float64(3),
}

# What a disk, a network or an editor does: bytes overwritten, taken out, put in; cut off; one piece put elsewhere.
Change = tuple[str, float, bytes, int]
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["overwrite", "insert", "delete", "cut", "repeat"]),
        st.floats(0, 1),
        st.binary(min_size=1, max_size=9),
        st.integers(1, 40),
    ),
    min_size=1,
    max_size=5,
)
MANY = settings(max_examples=400)


def changed(data: bytes, changes: list[Change]) -> bytes:
    for what, place, piece, length in changes:
        at = int(place * len(data))
        data = {
            "overwrite": data[:at] + piece + data[at + len(piece) :],
            "insert": data[:at] + piece + data[at:],
            "delete": data[:at] + data[at + length :],
            "cut": data[:at],
            "repeat": data[:at] + data[at : at + length] * 3 + data[at + length :],
        }[what]
    return data


@pytest.fixture(scope="module")
def fitted() -> bytes:
    """A pickle with fitted detectors: estimators, trees and metrics."""
    from pyod.models.iforest import IForest
    from pyod.models.knn import KNN

    rows = np.random.default_rng(1).normal(size=(20, 2))
    return dumps({"knn": KNN(n_neighbors=2).fit(rows), "forest": IForest(n_estimators=2).fit(rows)})


def outcome(ask: Callable[..., Any], *args: Any) -> Any:
    """Return what is answered, or the refusal; any other error is the test's."""
    try:
        return ask(*args)
    except (BadBundle, ModelRefused) as refused:
        return refused


@MANY
@given(changes=CHANGES)
def test_a_changed_pickle(changes: list[Change], fitted: bytes) -> None:
    for raw in (dumps(MODELS), fitted):
        found = outcome(loads, changed(raw, changes))
        assert not isinstance(found, BadBundle) or str(found).startswith("its content is refused: ")


@given(raw=st.binary(max_size=200))
def test_any_bytes_for_a_pickle(raw: bytes) -> None:
    for one in (raw, b"\x80\x05" + raw + b"."):
        found = outcome(loads, one)
        assert not isinstance(found, BadBundle) or str(found).startswith("its content is refused: ")


@MANY
@given(changes=CHANGES, more=st.integers(-3, 3))
def test_a_changed_bundle(changes: list[Change], more: int) -> None:
    data, size = pack(KEY.label, MODELS)
    found = outcome(unpack, changed(data, changes), KEY.label, size + more)
    # zlib's own checksum holds together what is in it.
    assert str(found) if isinstance(found, BadBundle) else set(found) == set(MODELS)


@MANY
@given(changes=CHANGES)
def test_a_changed_manifest(changes: list[Change]) -> None:
    digest = hashlib.sha256(b"x").hexdigest()
    text = Manifest(KEY, object_name(digest), digest, 10, 20, versions(), FACTS).to_json().encode()
    assert Manifest.from_json(text, KEY).facts == FACTS
    found = outcome(Manifest.from_json, changed(text, changes), KEY)
    if isinstance(found, BadBundle):
        assert str(found)
    else:
        assert (found.key, found.created_by, found.object) == (KEY, versions(), object_name(found.sha256))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(fields=st.dictionaries(st.sampled_from(sorted(Manifest.__dataclass_fields__)), VALUES, min_size=1))
def test_a_manifest_with_other_values(fields: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Through the whole store, from which no name or size in a manifest leads anywhere else."""
    root = tmp_path_factory.mktemp("store")
    store = ModelStore(root)
    store.save(KEY, MODELS, FACTS)
    path = _file(root, in_manifest=True)
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    refused_or_whole(store, root)


@settings(max_examples=200)
@given(changes=CHANGES, in_manifest=st.booleans())
def test_changed_files(changes: list[Change], in_manifest: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("store")
    store = ModelStore(root)
    store.save(KEY, MODELS, FACTS)
    path = _file(root, in_manifest)
    path.write_bytes(changed(path.read_bytes(), changes))
    refused_or_whole(store, root)


def refused_or_whole(store: ModelStore, root: Path) -> None:
    """Assert that the models are refused or whole, and that training again, which a refusal leads to, helps."""
    found = outcome(store.load, KEY)
    if isinstance(found, ModelRefused):
        assert found.key == KEY
        assert found.path.startswith(str(root / KEY.folder))
    else:
        assert set(found.models) == set(MODELS)
    store.save(KEY, MODELS, FACTS)
    assert set(outcome(store.load, KEY).models) == set(MODELS)


def _file(root: Path, in_manifest: bool) -> Path:
    (path,) = (root / KEY.folder).glob(MANIFEST if in_manifest else "models-*.bin")
    return path
