"""Servers that stand in for a warehouse, each in a process of its own on the loopback interface."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(program: str, port: int, log: Path, arguments: Sequence[str] = ()) -> Iterator[None]:
    """Run a program of this folder, which listens on ``port``, until the block ends."""
    path = Path(__file__).with_name(program)
    with log.open("w") as output:
        process = subprocess.Popen([sys.executable, str(path), str(port), *arguments], stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 60
        while True:
            with closing(socket.socket()) as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait()
