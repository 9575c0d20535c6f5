"""Run a batch's own Python: the texts of ``ingest_fn`` and ``preprocess_fn``, in a worker only."""

from __future__ import annotations

import inspect
import logging
import sys
import traceback
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any


class UserFunctionError(ValueError):
    """The text does not define the function, or its arguments cannot be filled; the message names the batch."""


def call(text: str, function: str, arguments: Mapping[str, Any], *, where: str) -> Any:
    """
    Define ``function`` from its module text and call it.

    :param arguments: values for parameters of these names; all others of the function must have defaults.
    :param where: batch and key, for tracebacks and messages.
    """
    with _dagster_stand_in():
        found = _define(text, function, where)
        return found(**_given(found, function, arguments, where))


def call_again(text: str, function: str, first: Any, arguments: Mapping[str, Any], *, where: str) -> Any:
    """
    Call ``function`` like :func:`call`, its text run once per process, however often it is called.

    :param first: its first argument, whatever that is named. ``**anything`` takes up all of ``arguments`` that have no
        parameter of their own.
    """
    with _dagster_stand_in():
        found = _define_once(text, function, where)
        return found(first, **_given(found, function, arguments, where, first=True))


def line_in(error: BaseException, where: str) -> int | None:
    """Return the innermost line of the text of ``where`` that an error comes from, None if it is not from there."""
    if isinstance(error, SyntaxError) and error.filename == f"<{where}>":
        return error.lineno
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == f"<{where}>"]
    return frames[-1].lineno if frames else None


def _define(text: str, function: str, where: str) -> Callable[..., Any]:
    # One namespace for all of the text, so that its imports, constants and helpers are visible inside the function, and
    # not named "__main__", so that what a script does when it is run by hand is not done here.
    namespace: dict[str, Any] = {"__name__": f"anomstack_{function}"}
    exec(compile(text, f"<{where}>", "exec"), namespace)
    found: Callable[..., Any] | None = namespace.get(function)
    if not callable(found):
        raise UserFunctionError(f"{where}: the text defines no function {function}()")
    return found


_define_once = lru_cache(maxsize=64)(_define)


def _given(
    found: Callable[..., Any], function: str, arguments: Mapping[str, Any], where: str, *, first: bool = False
) -> dict[str, Any]:
    """Return the arguments that the function takes by name; with ``first`` but for its first one."""
    parameters = list(inspect.signature(found).parameters.values())[int(first) :]
    if first and any(p.kind is p.VAR_KEYWORD for p in parameters):
        return dict(arguments)
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
    return given


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
