"""Find the files of a metrics folder: the batches, the folder's defaults, and what cannot be read."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

DEFAULTS_NAMES = ("defaults.yaml", "defaults.yml")
_DEFAULTS_PLACES = tuple(f"{folder}{name}" for folder in ("defaults/", "") for name in DEFAULTS_NAMES)
_SUFFIXES = (".yaml", ".yml")


@dataclass
class Files:
    """
    What a metrics folder holds; paths are relative to it, with ``/``, sorted.

    :param batches: files that should each hold a batch.
    :param defaults: the file with the folder's defaults, None if there is none.
    :param unused: further files named like defaults, which nothing reads.
    :param unreadable: (path, reason) of folders and links that could not be followed.
    """

    batches: list[str] = field(default_factory=list)
    defaults: str | None = None
    unused: list[str] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)


def find_files(metrics_dir: Path, *, ignore_examples: bool) -> Files:
    """
    List the files below ``metrics_dir``.

    Hidden files and folders are left out. Links are followed, but no folder is read twice.
    """
    files = Files()
    named_defaults: list[str] = []
    waiting = [""]
    seen: set[tuple[int, int]] = set()
    while waiting:
        folder = waiting.pop()
        try:
            status = os.stat(metrics_dir / folder)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(metrics_dir / folder) as listing:
                # The stack gives folders back in order, so that of two links to one folder the first is read.
                entries = sorted(listing, key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            files.unreadable.append((folder or ".", f"cannot be read ({error.strerror}); check its permissions"))
            continue
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith(".") or (ignore_examples and path == "examples"):
                continue
            if entry.is_dir():
                waiting.append(path)
            elif entry.name.endswith(_SUFFIXES):
                if not entry.is_file():
                    what = "is a link to nothing" if entry.is_symlink() else "is not a regular file"
                    files.unreadable.append((path, f"{what}; remove it"))
                elif entry.name in DEFAULTS_NAMES:
                    named_defaults.append(path)
                else:
                    files.batches.append(path)
    files.defaults = next((place for place in _DEFAULTS_PLACES if place in named_defaults), None)
    files.unused = sorted(path for path in named_defaults if path != files.defaults)
    files.batches.sort()
    files.unreadable.sort()
    return files


def within(metrics_dir: str | os.PathLike[str], name: str) -> str | None:
    """Return the real path of a file below the folder; None where ``..``, a link or the name itself leads out of it."""
    root = os.path.realpath(metrics_dir)
    try:
        path = os.path.realpath(os.path.join(root, name))
        return path if os.path.commonpath([root, path]) == root else None
    except ValueError:  # a NUL in the name
        return None


def printable(path: str) -> str:
    """Return a path as text that every terminal and database takes, without the bytes that are no UTF-8."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
