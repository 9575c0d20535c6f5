"""Whole files in any store that fsspec knows: read, replace, list, remove. Nothing about models.

Listings that fsspec has cached are forgotten first, because other workers write here, too. A store that does not answer
is waited for as long as ``patience`` says: what fsspec's file systems and the libraries below them try and try again
adds up to many minutes for a single file.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from datetime import UTC, datetime
from functools import cached_property
from queue import Empty, Queue
from threading import Thread
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from anomstack_provider.artifacts.errors import ModelStoreUnavailable
from anomstack_provider.artifacts.places import Place

# Stores without folders: nothing to make before writing, and "making a folder" would make a bucket.
_BUCKET_STORES = frozenset({"s3", "s3a", "s3n", "gs", "gcs", "abfs", "abfss", "az", "adl", "wasb", "wasbs", "oss"})
_ATTEMPTS = 3
_LONGEST_REASON = 500


class Files:
    """
    The files below one root. Every path is relative to it, with ``/``.

    Each method raises :class:`ModelStoreUnavailable` when the store cannot be reached, refuses, or does not answer.

    :param patience: seconds that a store, but for a local folder, has for an answer; each MB in it gives it one more.
    """

    def __init__(self, root: Place, patience: float = 60) -> None:
        self.name = str(root)
        self.patience = patience
        self._root = root

    @cached_property
    def _fs(self) -> Any:
        return self._root.fs

    @cached_property
    def _base(self) -> str:
        return self._root.path.rstrip("/")

    @cached_property
    def _is_local(self) -> bool:
        return isinstance(self._fs, LocalFileSystem)

    @cached_property
    def _has_folders(self) -> bool:
        protocol = self._fs.protocol
        return _BUCKET_STORES.isdisjoint({protocol} if isinstance(protocol, str) else protocol)

    def path(self, relative: str) -> str:
        """Return the path for a person to find."""
        return f"{self.name.rstrip('/')}/{relative}" if relative else self.name

    def size(self, relative: str) -> int | None:
        """Return the size in bytes, or None where there is no such file."""
        with self._translated("look at", relative):
            full = self._full(relative)
            self._fs.invalidate_cache(full)
            try:
                found = self._answer(self._fs.info, full)
            except FileNotFoundError:
                return None
        return int(found["size"]) if found["type"] == "file" else None

    def read(self, relative: str, *, size: int = 0) -> bytes | None:
        """Return the whole file, or None where there is no such file; ``size`` is what it is known to have."""
        with self._translated("read", relative):
            try:
                return bytes(self._answer(self._fs.cat_file, self._full(relative), size=size))
            except FileNotFoundError:
                return None

    def replace(self, relative: str, data: bytes) -> None:
        """
        Write the whole file. Parent folders are made.

        On a local folder and in an object store a reader sees the old bytes or the new ones, whatever becomes of the
        writer. Other stores may be left with a part of the new ones.
        """
        with self._translated("write", relative):
            full = self._full(relative)
            if self._is_local:
                _replace_local(full, data)
                return
            if self._has_folders:
                self._answer(self._fs.makedirs, full.rpartition("/")[0], True)
            self._answer(self._fs.pipe_file, full, data, size=len(data))

    def names(self, relative: str) -> list[str]:
        """Return the sorted names directly below a folder; none where there is no such folder."""
        with self._translated("list", relative):
            full = self._full(relative)
            self._fs.invalidate_cache(full)
            try:
                found = self._answer(self._fs.ls, full, False)
            except FileNotFoundError:
                return []
        paths = {str(path).rstrip("/") for path in found} - {full}
        return sorted(path.rpartition("/")[2] for path in paths)

    def below(self, relative: str) -> list[str]:
        """Return the sorted paths of all files below a folder, hidden ones too; none where there is no such folder."""
        with self._translated("list", relative):
            full = self._full(relative)
            self._fs.invalidate_cache(full)
            found = self._answer(self._fs.find, full)
            base = self._base
        return sorted(str(path)[len(base) + 1 :] if base else str(path) for path in found)

    def written(self, relative: str) -> datetime | None:
        """Return when a file was last written, aware; None if it is gone, a folder, or the store does not tell."""
        with self._translated("look at", relative):
            try:
                found = self._answer(self._fs.modified, self._full(relative))
            except (FileNotFoundError, IsADirectoryError, NotImplementedError):
                return None
        if not isinstance(found, datetime):
            return None
        return found if found.tzinfo else found.replace(tzinfo=UTC)

    def remove(self, relative: str) -> None:
        """Remove a file; fine if it is gone."""
        with self._translated("remove", relative), _gone_is_fine():
            self._answer(self._fs.rm_file, self._full(relative))

    def remove_folder(self, relative: str, *, first: str) -> None:
        """Remove a folder with all below it, files named ``first`` before the others; fine if it is gone."""
        with self._translated("remove", relative):
            full = self._full(relative)
            self._fs.invalidate_cache(full)
            for path in self._answer(self._fs.find, full):
                if path.rpartition("/")[2] == first:
                    with _gone_is_fine():
                        self._answer(self._fs.rm_file, path)
            self._fs.invalidate_cache(full)
            with _gone_is_fine():
                self._answer(self._fs.rm, full, True)

    def _full(self, relative: str) -> str:
        return f"{self._base}/{relative}" if relative else self._base

    def _answer(self, ask: Callable[..., Any], *args: Any, size: int = 0) -> Any:
        """Return what the store answers; raises ``TimeoutError`` when its time is over."""
        return ask(*args) if self._is_local else _within(self.patience + size / 1e6, ask, *args)

    @contextmanager
    def _translated(self, action: str, relative: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # each store's library raises its own types
            # Azure's and Google's libraries tell the status of an answer, the others' types say as much.
            status = getattr(error, "status_code", None) or getattr(error, "code", None)
            what = f"{action} {self.path(relative)}"
            said = " ".join(str(error).split()).rstrip(".")[:_LONGEST_REASON]
            if isinstance(error, PermissionError) or status in (401, 403):
                text = (
                    f"The model store does not let us {what}: {said}. "
                    "Check the credentials of its connection and what they are allowed to do "
                    "(some stores answer so for a missing file unless listing is allowed, too)."
                )
            elif isinstance(error, FileNotFoundError) or status == 404:
                text = f"Cannot {what}: {said}. Check that the bucket or share of model_path exists."
            else:
                text = (
                    f"Cannot {what} in the model store: {type(error).__name__}: {said}. "
                    "Check model_path and its connection."
                )
            raise ModelStoreUnavailable(text) from error


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


def _within(seconds: float, ask: Callable[..., Any], *args: Any) -> Any:
    """Return what ``ask`` returns; raises what it raises, or ``TimeoutError``. One that hangs is left alone."""
    answers: Queue[tuple[bool, Any]] = Queue()
    context = copy_context()  # a file system may be refreshing its credentials with Airflow's help

    def run() -> None:
        try:
            answers.put((True, context.run(ask, *args)))
        except BaseException as error:
            answers.put((False, error))

    Thread(target=run, daemon=True, name="model store").start()
    try:
        is_answer, answer = answers.get(timeout=seconds)
    except Empty:
        raise TimeoutError(f"no answer within {seconds:.0f} seconds") from None
    if not is_answer:
        raise answer
    return answer


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
