"""Whole files in any store that fsspec knows: read, replace, list, remove. Nothing about models.

It works on the file system of a path, not on the path itself: ``ObjectStoragePath`` differs between Airflow
versions. Listings that fsspec has cached are forgotten first, because other workers write here, too.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from anomstack_provider.artifacts.errors import ModelStoreUnavailable

# Stores without folders: nothing to make before writing, and "making a folder" would make a bucket.
_BUCKET_STORES = frozenset({"s3", "s3a", "s3n", "gs", "gcs", "abfs", "abfss", "az", "adl", "wasb", "wasbs", "oss"})
_ATTEMPTS = 3


class Files:
    """
    The files below one root. Every path is relative to it, with ``/``.

    Each method raises :class:`ModelStoreUnavailable` when the store cannot be reached or refuses.

    :param root: an ``ObjectStoragePath`` or any other path with ``fs`` and ``path`` as ``UPath`` has them.
    """

    def __init__(self, root: Any) -> None:
        self.name = str(root)
        with self._translated("open", ""):
            self._fs = root.fs
            self._base = str(root.path).rstrip("/")
        self._is_local = isinstance(self._fs, LocalFileSystem)
        protocol = self._fs.protocol
        self._has_folders = _BUCKET_STORES.isdisjoint({protocol} if isinstance(protocol, str) else protocol)

    def path(self, relative: str) -> str:
        """Return the path for a person to find."""
        return f"{self.name.rstrip('/')}/{relative}" if relative else self.name

    def size(self, relative: str) -> int | None:
        """Return the size in bytes, or None where there is no such file."""
        full = self._full(relative)
        with self._translated("look at", relative):
            self._fs.invalidate_cache(full)
            try:
                found = self._fs.info(full)
            except FileNotFoundError:
                return None
        return int(found["size"]) if found["type"] == "file" else None

    def read(self, relative: str) -> bytes | None:
        """Return the whole file, or None where there is no such file."""
        with self._translated("read", relative):
            try:
                return bytes(self._fs.cat_file(self._full(relative)))
            except FileNotFoundError:
                return None

    def replace(self, relative: str, data: bytes) -> None:
        """Write the whole file: a reader sees the old bytes or the new ones. Parent folders are made."""
        full = self._full(relative)
        with self._translated("write", relative):
            if self._is_local:
                _replace_local(full, data)
                return
            if self._has_folders:
                self._fs.makedirs(full.rpartition("/")[0], exist_ok=True)
            self._fs.pipe_file(full, data)

    def names(self, relative: str) -> list[str]:
        """Return the sorted names directly below a folder; none where there is no such folder."""
        full = self._full(relative)
        with self._translated("list", relative):
            self._fs.invalidate_cache(full)
            try:
                found = self._fs.ls(full, detail=False)
            except FileNotFoundError:
                return []
        paths = {str(path).rstrip("/") for path in found} - {full}
        return sorted(path.rpartition("/")[2] for path in paths)

    def below(self, relative: str) -> list[str]:
        """Return the sorted paths of all files below a folder, hidden ones too; none where there is no such folder."""
        full = self._full(relative)
        with self._translated("list", relative):
            self._fs.invalidate_cache(full)
            found = self._fs.find(full)
        return sorted(str(path)[len(self._base) + 1 :] if self._base else str(path) for path in found)

    def written(self, relative: str) -> datetime | None:
        """Return when a file was last written, aware; None if it is gone, a folder, or the store does not tell."""
        with self._translated("look at", relative):
            try:
                found = self._fs.modified(self._full(relative))
            except (FileNotFoundError, IsADirectoryError, NotImplementedError):
                return None
        if not isinstance(found, datetime):
            return None
        return found if found.tzinfo else found.replace(tzinfo=UTC)

    def remove(self, relative: str) -> None:
        """Remove a file; fine if it is gone."""
        with self._translated("remove", relative), _gone_is_fine():
            self._fs.rm_file(self._full(relative))

    def remove_folder(self, relative: str, *, first: str) -> None:
        """Remove a folder with all below it, files named ``first`` before the others; fine if it is gone."""
        full = self._full(relative)
        with self._translated("remove", relative):
            self._fs.invalidate_cache(full)
            for path in self._fs.find(full):
                if path.rpartition("/")[2] == first:
                    with _gone_is_fine():
                        self._fs.rm_file(path)
            self._fs.invalidate_cache(full)
            with _gone_is_fine():
                self._fs.rm(full, recursive=True)

    def _full(self, relative: str) -> str:
        return f"{self._base}/{relative}" if relative else self._base

    @contextmanager
    def _translated(self, action: str, relative: str) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise ModelStoreUnavailable(
                f"The model store does not let us {action} {self.path(relative)}: {error}. "
                "Check the credentials of its connection and what they are allowed to do "
                "(some stores answer so for a missing file unless listing is allowed, too)."
            ) from error
        except FileNotFoundError as error:
            raise ModelStoreUnavailable(
                f"Cannot {action} {self.path(relative)}: {error}. Check that the bucket or share of model_path exists."
            ) from error
        except Exception as error:  # each store's library raises its own types, and each means the same here
            raise ModelStoreUnavailable(
                f"Cannot {action} {self.path(relative)} in the model store: {type(error).__name__}: {error}. "
                "Check model_path and its connection."
            ) from error


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    """Let pass that someone else removed the folder, or writes to it: what stays, the next one removes."""
    try:
        yield
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise


def _replace_local(path: str, data: bytes) -> None:
    folder, name = os.path.split(path)
    for attempt in range(1, _ATTEMPTS + 1):
        unfinished = os.path.join(folder, f".{name}.{uuid.uuid4().hex}.tmp")
        try:
            os.makedirs(folder, exist_ok=True)
            try:
                with open(unfinished, "xb") as out:
                    out.write(data)
                os.replace(unfinished, path)
            except BaseException:
                with _gone_is_fine():
                    os.unlink(unfinished)
                raise
        except FileNotFoundError:
            # The folder was pruned by another run between two of these lines.
            if attempt == _ATTEMPTS:
                raise
        else:
            return
