"""Versioned bundles of fitted models in any store that Airflow or fsspec reaches.

::

    {root}/{quoted batch}/{tick}-{config hash}/{shard}-of-{shards}/models-{sha256[:16]}.bin
                                                                   manifest.json

The object is written first and named by its content, the manifest last: a version is there or not, and two
writers of the same key leave one valid pair whichever is later. The store is a cache of a pure function, so
"none" or a refusal only means: train again as of the same tick.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from anomstack_provider.artifacts.errors import BadBundle, ModelRefused, ModelStoreUnavailable
from anomstack_provider.artifacts.files import Files
from anomstack_provider.artifacts.key import ModelKey, quote_batch, tick_of
from anomstack_provider.artifacts.manifest import Manifest, object_name, versions
from anomstack_provider.artifacts.places import Place, find_place, local_place
from anomstack_provider.artifacts.serialization import pack, unpack

__all__ = [
    "Bundle",
    "Manifest",
    "ModelKey",
    "ModelRefused",
    "ModelStore",
    "ModelStoreUnavailable",
    "open_model_store",
]

MANIFEST = "manifest.json"
_LARGEST_MANIFEST = 64 * 2**20


@dataclass(frozen=True)
class Bundle:
    """The models of one shard by metric name, with what is known of them."""

    models: dict[str, object]
    manifest: Manifest


class ModelStore:
    """
    Saves, loads and prunes the models of any batch below one root. Holds no connection open and no state.

    Every method raises ``ModelStoreUnavailable`` when the store cannot be reached or refuses the credentials:
    that is neither "none" nor a refusal of the models.

    :param root: a ``Place`` or a local ``Path``.
    """

    def __init__(self, root: Place | Path) -> None:
        self.files = Files(root if isinstance(root, Place) else local_place(root))

    def save(self, key: ModelKey, models: Mapping[str, object], facts: Mapping[str, Any]) -> Manifest:
        """
        Store the models under ``key``, in place of what may be there, and return their manifest.

        :param models: metric name to a frozen dataclass of ``anomstack_provider.detection`` or a detector.
        :param facts: anything JSON that a reader should know before opening them.
        :raises UnsupportedModel: a model cannot be kept; nothing was written.
        """
        data, raw_size = pack(key.label, models)
        digest = hashlib.sha256(data).hexdigest()
        manifest = Manifest(key, object_name(digest), digest, len(data), raw_size, versions(), facts)
        text = manifest.to_json().encode("ascii")
        self.files.replace(f"{key.folder}/{manifest.object}", data)
        self.files.replace(f"{key.folder}/{MANIFEST}", text)
        return Manifest.from_json(text, key)

    def load(self, key: ModelKey) -> Bundle | None:
        """
        Return the models stored under ``key``; None where there are none.

        The sha256 is compared before anything is read out of them.

        :raises ModelRefused: there are some, but damaged, foreign, of other library versions, or in need
            of code that is not on the allow-list.
        """
        manifest = self.find(key)
        if manifest is None:
            return None
        path = f"{key.folder}/{manifest.object}"
        with self._refused(key, path):
            data = self._verified(path, manifest)
            return Bundle(unpack(data, key.label, manifest.raw_size), manifest)

    def find(self, key: ModelKey) -> Manifest | None:
        """
        Return what is known of the models under ``key`` without reading them; None where there are none.

        :raises ModelRefused: as :meth:`load`, as far as the manifest tells.
        """
        path = f"{key.folder}/{MANIFEST}"
        with self._refused(key, path):
            size = self.files.size(path)
            if size is not None and size > _LARGEST_MANIFEST:
                raise BadBundle(f"it has {size} bytes")
            text = self.files.read(path, size=size) if size is not None else None
            return None if text is None else Manifest.from_json(text, key)

    def _verified(self, path: str, manifest: Manifest) -> bytes:
        size = self.files.size(path)
        if size is not None and size != manifest.size:
            raise BadBundle(f"it has {size} bytes instead of {manifest.size}: truncated or replaced")
        data = self.files.read(path, size=manifest.size) if size is not None else None
        if data is None:
            raise BadBundle("it is missing")
        if hashlib.sha256(data).hexdigest() != manifest.sha256:
            raise BadBundle("its sha256 is not the one in the manifest: damaged or tampered with")
        return data

    @contextmanager
    def _refused(self, key: ModelKey, path: str) -> Iterator[None]:
        try:
            yield
        except BadBundle as reason:
            raise ModelRefused(key, self.files.path(path), str(reason)) from reason

    def prune(self, metric_batch: str, keep: int, spare: Collection[datetime] = ()) -> list[str]:
        """
        Remove every version of the batch older than its newest ``keep`` ticks; return their folder names.

        All configs of a tick go or stay together. Files and folders of other names are left alone.

        :param spare: ticks that stay whatever their age: those that a backfill is about to use.
        """
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}")
        batch = quote_batch(metric_batch)
        ticks = {name: tick for name in self.files.names(batch) if (tick := tick_of(name)) is not None}
        kept = {*sorted(set(ticks.values()), reverse=True)[:keep], *spare}
        old = sorted(name for name, tick in ticks.items() if tick not in kept)
        for name in old:
            # Without its manifest a version is gone, so a kill in between leaves none that lacks its object.
            self.files.remove_folder(f"{batch}/{name}", first=MANIFEST)
        return old

    def versions(self, metric_batch: str) -> list[tuple[datetime, str]]:
        """Return the train tick and the config hash of every version of the batch, oldest first."""
        names = self.files.names(quote_batch(metric_batch))
        return sorted((tick, name.partition("-")[2]) for name in names if (tick := tick_of(name)) is not None)


def open_model_store(model_path: str, home: str) -> ModelStore:
    """Return the store at ``model_path``, which :func:`~anomstack_provider.artifacts.places.find_place` explains."""
    return ModelStore(find_place(model_path, home))
