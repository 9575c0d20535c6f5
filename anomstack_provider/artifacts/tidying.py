"""Removing what no run of a batch reads any more from the folder of its models. Reads no clock: it is told."""

from __future__ import annotations

import json
import re
from datetime import datetime

from anomstack_provider.artifacts.files import Files
from anomstack_provider.artifacts.key import quote_batch, tick_of
from anomstack_provider.artifacts.model_store import MANIFEST

_SHARD = re.compile(r"[0-9]{1,9}-of-([0-9]{1,9})")


def tidy(files: Files, metric_batch: str, keep: int, config_hash: str, shards: int, before: datetime) -> list[str]:
    """
    Remove folders and files below the root of a model store, and return them.

    Removed are versions of other configs, those of this one older than its newest ``keep`` ticks, shards of another
    number of them, and files of a shard that its manifest does not name: what abandoned writes leave. What was written
    at or after ``before``, or nobody knows when, stays: its writer or reader may not be done. Names that are none of
    these are left alone.
    """
    batch = quote_batch(metric_batch)
    versions = {name: tick for name in files.names(batch) if (tick := tick_of(name)) is not None}
    own = {name: tick for name, tick in versions.items() if name.partition("-")[2] == config_hash}
    newest = sorted(set(own.values()), reverse=True)[:keep]
    idle: list[str] = []
    for name in sorted(versions):
        folder = f"{batch}/{name}"
        if own.get(name) not in newest:
            idle.append(folder)
            continue
        for part in files.names(folder):
            found = _SHARD.fullmatch(part)
            if found and int(found[1]) != shards:
                idle.append(f"{folder}/{part}")
            elif found:
                idle += _unnamed(files, f"{folder}/{part}")
    return [path for path in idle if _is_removed(files, path, before)]


def _unnamed(files: Files, shard: str) -> list[str]:
    """Return the files of a shard that belong to no manifest; none where the manifest cannot be read."""
    found = files.below(shard)
    text = files.read(f"{shard}/{MANIFEST}")
    if text is None:
        return found
    try:
        known = {f"{shard}/{MANIFEST}", f"{shard}/{json.loads(text)['object']}"}
    except (ValueError, KeyError, TypeError, RecursionError):
        return []  # whoever asks for these models trains them again
    return [path for path in found if path not in known]


def _is_removed(files: Files, path: str, before: datetime) -> bool:
    """Remove a file or folder if nothing in it is younger; tell whether any file went."""
    found = files.below(path)
    times = [files.written(file) for file in found]
    if any(time is None or time >= before for time in times):
        return False
    if found == [path]:
        files.remove(path)
    else:
        files.remove_folder(path, first=MANIFEST)
    return bool(found)  # some stores go on listing a folder that is empty
