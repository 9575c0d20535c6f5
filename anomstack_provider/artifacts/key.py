"""What names the models of one shard, and where they are kept below a store's root. No input or output."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

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
