"""Write a folder in newer keys into another one: YAML anew, every other file as it is, at the same relative paths."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from anomstack_provider.config.batch_file import read_file, read_layer
from anomstack_provider.config.folder import find_files
from anomstack_provider.migrate.rewrite import as_yaml, rewrite


def folder_defaults(root: Path) -> tuple[str | None, dict[str, Any]]:
    """Return the path of the folder's ``defaults.yaml``, None without one, and its keys; a blank file has none."""
    path = find_files(root, ignore_examples=False).defaults
    if path is None:
        return None, {}
    content = read_file(root, path)
    lines = content.decode("utf-8", "replace").splitlines()
    if all(not line.strip() or line.lstrip().startswith("#") for line in lines):
        return path, {}
    return path, dict(read_layer(content, path).values)


def write_folder(root: Path, target: Path) -> list[str]:
    """
    Write the folder ``root``, which has no errors, anew below ``target``; return the paths of the YAML written.

    Files that are no batch are copied, so that includes find them; links are followed, hidden files left out.

    :raises ValueError: ``target`` has files already, or lies within ``root``.
    """
    if target.exists() and any(target.iterdir()):
        raise ValueError(f"{target} is not empty; name a new folder")
    if target.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{target} is inside {root}; name a folder beside it")
    files = find_files(root, ignore_examples=False)
    path, defaults = folder_defaults(root)
    written = {}
    for name in files.batches:
        written[name] = rewrite(read_layer(read_file(root, name), name).values, defaults).values
    if path is not None:
        written[path] = rewrite(defaults).values
    for name in _others(root, {*written, *files.unused}):
        _copy(root / name, target / name)
    for name, values in written.items():
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(_document(name, values), encoding="utf-8")
    return sorted(written)


def _document(name: str, values: Mapping[str, Any]) -> str:
    return f"# Made of Anomstack's {Path(name).name} by `anomstack migrate`.\n{as_yaml(values)}"


def _others(root: Path, but: set[str]) -> Iterator[str]:
    seen: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:  # a link to a folder around it
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = os.path.relpath(os.path.join(folder, name), root)
            if not name.startswith(".") and path not in but and os.path.isfile(os.path.join(folder, name)):
                yield path


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
