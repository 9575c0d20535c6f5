"""A program that stands in for BigQuery: bqemulator's REST server, in memory."""

from __future__ import annotations

import sys
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import bqemulator.jobs.executor as executor
import bqemulator.scripting.interpreter as interpreter
import duckdb
import duckdb_extension_spatial
from bqemulator.storage.engine import DuckDBEngine

_parameters: ContextVar[Any] = ContextVar("parameters", default=None)
_job, _bind = executor.execute_query_job, interpreter.bind_parameters


async def _with_parameters(project: str, job: str, sql: str, parameters: Any, *args: Any, **kwargs: Any) -> Any:
    _parameters.set(parameters)
    return await _job(project, job, sql, parameters, *args, **kwargs)


def _bind_in_scripts(sql: str, _: Any = None) -> tuple[str, list[Any]]:
    """Give the statements of a script the parameters of its job, as BigQuery does."""
    used = [each for each in _parameters.get() or [] if f"${each['name']}" in sql or f"@{each['name']}" in sql]
    return _bind(sql, used)


executor.execute_query_job = _with_parameters
interpreter.bind_parameters = _bind_in_scripts


def _load_spatial(self: Any) -> None:
    """Load the extension that is a package of the environment, where the emulator fetches it from the net."""
    folder = Path(duckdb_extension_spatial.__file__).parent / "extensions" / f"v{duckdb.__version__}"
    self._connection.execute(f"LOAD '{folder / 'spatial.duckdb_extension'}'")


DuckDBEngine._load_spatial = _load_spatial  # type: ignore[method-assign]

if __name__ == "__main__":
    from bqemulator.cli import main  # after what it shall find changed

    ports = ["--rest-port", sys.argv[1], "--grpc-port", "0"]
    main(["start", "--rest-host", "127.0.0.1", "--grpc-host", "127.0.0.1", *ports, "--log-level", "warning"])
