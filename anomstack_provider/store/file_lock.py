"""
A lock of our own beside an embedded database's file, so that its users take turns.

DuckDB locks its file too, but reads the file's header before it has the lock (seen in 2.0.0: a read-only open, a
read of 12 KiB, a close, and only then the open that locks). Whoever opens it in the instant in which another process
writes a checkpoint goes on with a header that is out of date, and overwrites rows or finds the file too short. With
this lock held from before the opening until after the closing, that cannot happen among ourselves.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from anomstack_provider.store.errors import StoreBusy
from anomstack_provider.store.session import patience


@contextmanager
def file_lock(path: str, wait: float) -> Iterator[None]:
    """
    Hold the lock of the database file ``path``, against other processes and other threads.

    The lock is on ``{path}.lock``, which stays there; the kernel lets go of it when its holder dies. Raises
    :class:`StoreBusy`, naming the file and the holder's process, after ``wait`` seconds.
    """
    file = os.open(f"{os.path.realpath(path)}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            patience(_is_held, wait)(fcntl.flock, file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(file, 32, 0).decode(errors="replace").strip()
            raise StoreBusy(
                f"{path}: still busy after {wait:.3g} s: it is in use by the process with PID {holder or 'unknown'}\n"
                "Let the other program finish, or close it, and run this again."
            ) from error
        os.ftruncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # closing alone would leave it to a child forked meanwhile
    finally:
        os.close(file)


def _is_held(error: BaseException) -> bool:
    return isinstance(error, BlockingIOError)
