"""What names a set of models, and what is written beside it: the key and the manifest. No input or output."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

from anomstack_provider.artifacts.errors import BadBundle
from anomstack_provider.artifacts.serialization import FORMAT

# The fitted state of these belongs to their exact versions.
_LIBRARIES = ("numpy", "pyod", "scikit-learn")
_CONFIG_HASH = re.compile(r"[0-9A-Za-z_-]{1,64}")
_VERSION = re.compile(r"([0-9]{8}T[0-9]{6}Z)-[0-9A-Za-z_-]{1,64}")
_LONGEST_NAME = 120


@dataclass(frozen=True)
class ModelKey:
    """
    The models of one shard of a batch, as trained as of one tick with one config.

    :param tick: the train tick, aware, whole seconds; kept in UTC.
    :param config_hash: 1-64 letters, digits, ``_`` or ``-``.
    :param shard: number of the shard, from 0.
    :raises ValueError: one of them is not like that.
    """

    metric_batch: str
    tick: datetime
    config_hash: str
    shard: int = 0
    shards: int = 1

    def __post_init__(self) -> None:
        if self.tick.tzinfo is None or self.tick.microsecond:
            raise ValueError(f"tick must be aware and whole seconds, got {self.tick!r}")
        if not _CONFIG_HASH.fullmatch(self.config_hash):
            raise ValueError(f"config_hash must be 1-64 of A-Z, a-z, 0-9, _ and -, got {self.config_hash!r}")
        if not 0 <= self.shard < self.shards:
            raise ValueError(f"shard must be in 0..{self.shards - 1}, got {self.shard}")
        object.__setattr__(self, "tick", self.tick.astimezone(UTC))

    def __str__(self) -> str:
        return f"batch {self.metric_batch!r}, tick {self.tick.isoformat()}, config {self.config_hash}, " + (
            f"shard {self.shard} of {self.shards}"
        )

    @property
    def folder(self) -> str:
        """Where its files are, relative to the root of a store; ``/`` between the parts."""
        version_name = f"{self.tick:%Y%m%dT%H%M%SZ}-{self.config_hash}"
        return f"{quote_batch(self.metric_batch)}/{version_name}/{self.shard}-of-{self.shards}"

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {
            "metric_batch": self.metric_batch,
            "tick": self.tick.isoformat(),
            "config_hash": self.config_hash,
            "shard": self.shard,
            "shards": self.shards,
        }

    @property
    def label(self) -> str:
        """One line of ASCII, the same for the same key, which a bundle carries in its head."""
        return json.dumps(self.to_dict(), sort_keys=True)


@dataclass(frozen=True)
class Manifest:
    """
    What is known of a stored bundle before it is opened.

    :param object: file name of the bundle, made of its sha256.
    :param size: bytes of that file.
    :param raw_size: bytes of its content after decompression.
    :param created_by: library or ``python`` to version (of Python major and minor).
    :param facts: what the writer said about the models, JSON values.
    """

    key: ModelKey
    object: str
    sha256: str
    size: int
    raw_size: int
    created_by: Mapping[str, str]
    facts: Mapping[str, Any]
    format: int = FORMAT

    def to_json(self) -> str:
        """
        Return the text of ``manifest.json``, the same for the same manifest.

        :raises ValueError: ``facts`` hold NaN or infinity.
        :raises TypeError: ``facts`` hold something else that JSON has not.
        """
        plain = {"key": self.key.to_dict(), "created_by": dict(self.created_by), "facts": dict(self.facts)}
        return json.dumps(vars(self) | plain, sort_keys=True, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: bytes, key: ModelKey) -> Manifest:
        """
        Read a manifest that was found where the one of ``key`` belongs.

        :raises BadBundle: not a manifest, another format, another key, or other library versions than here.
        """
        raw = _parsed(text)
        if raw.get("format") != FORMAT:
            raise BadBundle(f"its format is {raw.get('format')!r}, this version reads {FORMAT}")
        for name, kind in _FIELDS.items():
            if type(raw.get(name)) is not kind:
                raise BadBundle(f"{name!r} should be of type {kind.__name__}, it is {raw.get(name)!r:.80}")
        if raw["key"] != key.to_dict():
            raise BadBundle(f"it belongs to {raw['key']!r:.300}")
        if raw["object"] != object_name(raw["sha256"]):
            raise BadBundle(f"its object {raw['object']!r:.80} is not named by its sha256")
        here = versions()
        if raw["created_by"] != here:
            there = raw["created_by"]
            names = [name for name in sorted({*here, *there}) if here.get(name) != there.get(name)]
            changes = ", ".join(f"{name} {there.get(name)!s:.40} (here {here.get(name)})" for name in names)
            raise BadBundle(f"it was made with {changes}")
        values = {name: raw[name] for name in _FIELDS if name != "key"}
        return cls(key=key, **values)


_FIELDS: dict[str, type] = {
    "key": dict,
    "object": str,
    "sha256": str,
    "size": int,
    "raw_size": int,
    "created_by": dict,
    "facts": dict,
}


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadBundle(f"it is not JSON: {error!s:.200}") from error
    if not isinstance(raw, dict):
        raise BadBundle("it is not a JSON object")
    return raw


def versions() -> dict[str, str]:
    """Return what the state of a fitted model depends on, as installed here."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {"python": python, **{name: version(name) for name in _LIBRARIES}}


def object_name(sha256: str) -> str:
    """Return the file name of a bundle with this hash, of which only hexadecimal digits are used."""
    return f"models-{re.sub('[^0-9a-f]', '', sha256)[:16]}.bin"


def quote_batch(metric_batch: str) -> str:
    """
    Return the folder name of a batch: safe in any store, different for every batch.

    Letters, digits, ``_``, ``-`` and inner dots stay; a long name is cut and gets its hash.
    """
    quoted = quote(metric_batch, safe="", errors="surrogatepass").replace("~", "%7E")
    if quoted.startswith("."):
        quoted = "%2E" + quoted[1:]
    if not quoted:
        return "~"
    if len(quoted) > _LONGEST_NAME:
        digest = hashlib.sha256(quoted.encode("ascii")).hexdigest()[:16]
        return f"{quoted[: _LONGEST_NAME - 17]}~{digest}"
    return quoted


def tick_of(version_name: str) -> datetime | None:
    """Return the tick (UTC) of a version's folder name; None for a folder that is not one."""
    found = _VERSION.fullmatch(version_name)
    if found is None:
        return None
    try:
        return datetime.strptime(found[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None
