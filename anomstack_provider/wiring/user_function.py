"""Run a batch's own Python: the text of ``ingest_fn``, in a worker only."""

from __future__ import annotations

import inspect
import logging
import sys
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


class UserFunctionError(ValueError):
    """The text does not define the function, or its arguments cannot be filled; the message names the batch."""


def call(text: str, function: str, arguments: Mapping[str, Any], *, where: str) -> Any:
    """
    Define ``function`` from its module text and call it.

    :param arguments: values for parameters of these names; all others of the function must have defaults.
    :param where: batch and key, for tracebacks and messages.
    """
    # One namespace for all of the text, so that its imports, constants and helpers are visible inside the function, and
    # not named "__main__", so that what a script does when it is run by hand is not done here.
    namespace: dict[str, Any] = {"__name__": f"anomstack_{function}"}
    with _dagster_stand_in():
        exec(compile(text, f"<{where}>", "exec"), namespace)
        found = namespace.get(function)
        if not callable(found):
            raise UserFunctionError(f"{where}: the text defines no function {function}()")
        parameters = inspect.signature(found).parameters.values()
        given = {p.name: arguments[p.name] for p in parameters if p.name in arguments}
        unfilled = [
            p.name
            for p in parameters
            if p.name not in given and p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        ]
        if unfilled:
            known = ", ".join(sorted(arguments))
            raise UserFunctionError(
                f"{where}: {function}() needs a value for {unfilled[0]!r}; give it a default, or use one of {known}"
            )
        return found(**given)


@contextmanager
def _dagster_stand_in() -> Iterator[None]:
    """Provide ``dagster.get_dagster_logger`` while the text runs: functions written for Anomstack import it."""
    if "dagster" in sys.modules or _is_installed("dagster"):
        yield
        return
    stand_in = types.ModuleType("dagster")
    stand_in.get_dagster_logger = lambda name=None: logging.getLogger(name or "anomstack.ingest")  # type: ignore[attr-defined]
    sys.modules["dagster"] = stand_in
    try:
        yield
    finally:
        sys.modules.pop("dagster", None)


def _is_installed(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None
