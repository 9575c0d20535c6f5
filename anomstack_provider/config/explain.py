"""Turn what pydantic finds wrong into sentences for the person who wrote the YAML."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from anomstack_provider.config.values import shown

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """
    One mistake in one set of values.

    :param path: where in the values; empty if no key is to blame.
    :param message: the sentence.
    :param others: further keys that the mistake depends on; the place to mend is whichever was set last.
    """

    path: Path
    message: str
    others: tuple[str, ...] = ()

    @property
    def key(self) -> str | None:
        """The path as text, such as ``model_configs[0].model_name``."""
        return dotted(self.path) or None


class CrossCheckError(ValueError):
    """Mistakes between keys, found once each key on its own is right."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{problem.key}: {problem.message}" for problem in self.problems))


def dotted(path: Path) -> str:
    """Return a path as people write it: names with dots, positions of a list in brackets."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the known word most like this one, else nothing."""
    near = get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""


def unknown_key(word: str, known: Iterable[str]) -> str:
    """Return the sentence on a key that nobody declared."""
    listed = sorted(known)
    hint = nearest(word, listed)
    if not hint and len(listed) <= 12:
        hint = f"; known are {', '.join(listed)}"
    return f"unknown key{hint or '; remove it, or see config/defaults.yaml of the package for all known keys'}"


def explain(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """Return every mistake in ``error``, in pydantic's order, without pydantic's vocabulary."""
    problems: list[Problem] = []
    for detail in error.errors(include_url=False):
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, CrossCheckError):
            problems.extend(cause.problems)
        elif detail["type"] != "too_short" or not detail["input"]:  # a list of wrong entries is not too short
            path = tuple(part for part in detail["loc"] if part != "[key]")
            problems.append(Problem(path, _sentence(detail, model)))
    return problems


def _sentence(detail: ErrorDetails, model: type[BaseModel]) -> str:
    kind, value = detail["type"], detail["input"]
    limits = detail.get("ctx", {})
    if kind == "extra_forbidden":
        return unknown_key(str(detail["loc"][-1]), _keys_at(model, detail["loc"][:-1]))
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return detail["msg"].removeprefix("Value error, ")
    if value is None:
        return "has no value; give one, or delete the line to have the default"
    if kind == "too_short":
        return "is empty; give at least one entry"
    expected = _EXPECTED[kind](limits) if kind in _EXPECTED else None
    return f"expected {expected}, got {shown(value)}" if expected else f"{detail['msg']}, got {shown(value)}"


def _keys_at(model: type[BaseModel], path: Path) -> Iterable[str]:
    """Return the keys of the model at ``path`` below ``model``, whatever lists and names are in between."""
    current = model
    for part in path:
        if isinstance(part, str) and part in current.model_fields:
            current = _model_within(current.model_fields[part].annotation) or current
    return [info.alias or key for key, info in current.model_fields.items()]


def _model_within(annotation: Any) -> type[BaseModel] | None:
    """Return the model in ``Model``, ``tuple[Model, ...]`` or ``dict[str, Model]``; None if there is none."""
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation if issubclass(annotation, BaseModel) else None
    return next((found for argument in get_args(annotation) if (found := _model_within(argument))), None)


def _one_of(limits: Mapping[str, Any]) -> str:
    return f"one of {limits['expected']}".replace("'", "")


_EXPECTED: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "bool_parsing": lambda _: "true or false",
    "bool_type": lambda _: "true or false",
    "int_parsing": lambda _: "a whole number",
    "int_parsing_size": lambda _: "a smaller number",
    "int_type": lambda _: "a whole number",
    "int_from_float": lambda _: "a whole number",
    "float_parsing": lambda _: "a number",
    "float_type": lambda _: "a number",
    "finite_number": lambda _: "a finite number",
    "string_type": lambda _: "text",
    "literal_error": _one_of,
    "greater_than_equal": lambda limits: f"{limits['ge']:g} or more",
    "greater_than": lambda limits: f"more than {limits['gt']:g}",
    "less_than_equal": lambda limits: f"{limits['le']:g} or less",
    "string_too_short": lambda _: "some text",
    "string_too_long": lambda limits: f"at most {limits['max_length']} characters",
    "string_pattern_mismatch": lambda _: "a class name such as PCA",
    "model_type": lambda _: "a mapping of keys and values",
    "model_attributes_type": lambda _: "a mapping of keys and values",
    "dict_type": lambda _: "a mapping of keys and values",
    "tuple_type": lambda _: "a list",
}
