"""What the store's tests need beside a database: frames, forked processes, another program in the file."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import traceback
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.database_fixtures import ENGINES, Database


@pytest.fixture(params=ENGINES)
def database(request: pytest.FixtureRequest, make_database: Callable[[str], Database]) -> Database:
    return make_database(request.param)


@pytest.fixture
def duckdb_file(make_database: Callable[[str], Database]) -> Database:
    return make_database("duckdb")


# --- frames ----------------------------------------------------------------------------------------------------


def _frame(rows: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    """Return metric rows: (name, type, time, value) or (name, type, time, value, metadata)."""
    full = [(*row, None)[:5] for row in rows]
    return pd.DataFrame(
        {
            "metric_name": pd.Series([row[0] for row in full], dtype=object),
            "metric_type": pd.Series([row[1] for row in full], dtype=object),
            "metric_timestamp": np.array([row[2] for row in full], dtype="datetime64[us]"),
            "metric_value": np.array([row[3] for row in full], dtype=float),
            "metadata": pd.Series([row[4] for row in full], dtype=object),
        }
    )


@pytest.fixture
def frame() -> Callable[[Sequence[tuple[Any, ...]]], pd.DataFrame]:
    return _frame


@pytest.fixture
def stored() -> Callable[[Any], list[tuple[Any, ...]]]:
    """Return all rows of a store, values as the hexadecimal text of their bits."""

    def read(store: Any, types: Sequence[str] = ("metric", "score")) -> list[tuple[Any, ...]]:
        found = store.read(types, since=None, until=datetime(2100, 1, 1, tzinfo=UTC))
        return [
            (row.metric_name, row.metric_type, str(row.metric_timestamp), row.metric_value.hex(), row.metadata)
            for row in found.itertuples()
        ]

    return read


# --- processes -------------------------------------------------------------------------------------------------


class Tap:
    """A real connection that reports each call of a method, of its own or of its cursors, before making it."""

    def __init__(self, real: Any, on_call: Callable[[str, tuple[Any, ...]], None]) -> None:
        object.__setattr__(self, "_real", real)
        object.__setattr__(self, "_on_call", on_call)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._real, name)
        if not callable(value):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            self._on_call(name, args)
            result = value(*args, **kwargs)
            return Tap(result, self._on_call) if name == "cursor" else result

        return call

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._real, name, value)


@pytest.fixture
def tapped() -> Callable[..., Any]:
    """Return a hook whose connections are tapped."""

    def tap(hook: Any, on_call: Callable[[str, tuple[Any, ...]], None]) -> Any:
        real = hook.get_conn
        hook.get_conn = lambda: Tap(real(), on_call)
        return hook

    return tap


class Processes:
    """Forked processes, which need not import Airflow again; they run closures."""

    def __init__(self, folder: Path) -> None:
        self._context = multiprocessing.get_context("fork")
        self._folder = folder

    def start(self, work: Callable[[], None]) -> Any:
        report = self._folder / f"{uuid.uuid4().hex}.traceback"

        def guarded() -> None:
            try:
                work()
            except BaseException:
                report.write_text(traceback.format_exc())
                os._exit(1)
            os._exit(0)

        process = self._context.Process(target=guarded)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # forking a process that has threads
            process.start()
        process.report = report  # type: ignore[attr-defined]
        return process

    def all(self, works: Sequence[Callable[[], None]], timeout: float = 60.0) -> None:
        """Run all at once; fail with the traceback of one that failed."""
        processes = [self.start(work) for work in works]
        for process in processes:
            process.join(timeout)
        stuck = [process for process in processes if process.is_alive()]
        for process in stuck:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
        assert not stuck, f"{len(stuck)} processes still ran after {timeout} s"
        failed = [process for process in processes if process.exitcode != 0]
        assert not failed, failed[0].report.read_text() if failed[0].report.exists() else failed[0].exitcode


@pytest.fixture
def processes(tmp_path: Path) -> Processes:
    return Processes(tmp_path)


# --- another program -------------------------------------------------------------------------------------------

HOLDER = """
import sys, time, duckdb
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
time.sleep(float(sys.argv[2]))
connection.close()
"""


@pytest.fixture
def hold(duckdb_file: Database) -> Iterator[Callable[[float], subprocess.Popen[str]]]:
    """Start another program that keeps the file open for some seconds."""
    started: list[subprocess.Popen[str]] = []

    def start(seconds: float) -> subprocess.Popen[str]:
        path = duckdb_file.hook().path
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(path), str(seconds)], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
