"""What is written beside a bundle: which models these are, made by which versions. No input or output."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from anomstack_provider.artifacts.errors import BadBundle
from anomstack_provider.artifacts.key import ModelKey
from anomstack_provider.artifacts.serialization import FORMAT

# The fitted state of these belongs to their exact versions.
_LIBRARIES = ("numpy", "pyod", "scikit-learn")


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
