"""
The SQL templates of ``sql/`` and their translation; no engine is named here.

A template is one statement in DuckDB's dialect with these additions:

- ``$name`` is a bound value, in every engine.
- ``{table}`` stands for the quoted name of the table.
- other ``{holes}`` are filled by the caller with text that this package made: never with a user's.
- a line that ends in ``-- only with: X`` is there only when the caller asks for ``X``.

An engine whose SQL says it in another way altogether has the template once more in ``sql/{engine}``, in its own dialect
and with the same additions; the holes are filled with its own dialect then.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any

_OPTIONAL = re.compile(r"\s*-- only with: (\w+)\s*$")
_COMMENT = re.compile(r"\s*--.*$")
TARGET = "anomstack_target"
"""What ``{table}`` is called while a template is parsed."""


class Native(str):
    """A statement in the engine's own dialect, which is not translated; ``$name`` is still a bound value."""

    __slots__ = ()


def _file(name: str, engine: str) -> Any:
    folder = resources.files(__package__).joinpath("sql")
    return (folder.joinpath(engine) if engine else folder).joinpath(f"{name}.sql")


@cache
def has_native(engine: str, name: str) -> bool:
    """Tell whether an engine has a template of its own."""
    return bool(engine) and bool(_file(name, engine).is_file())


@cache
def _lines(name: str, engine: str) -> tuple[str, ...]:
    return tuple(_file(name, engine).read_text(encoding="utf-8").splitlines())


@cache
def template(name: str, *only: str, engine: str = "", **holes: str) -> str:
    """
    Return the template ``name`` with the optional lines of ``only`` and ``holes`` filled in.

    With an ``engine`` that has its own it is that, as :class:`Native`.
    """
    native = has_native(engine, name)
    kept = []
    for line in _lines(name, engine if native else ""):
        option = _OPTIONAL.search(line)
        if option is None or option[1] in only:
            kept.append(_COMMENT.sub("", line))
    text = "\n".join(line for line in kept if line.strip())
    for hole, sql in holes.items():
        text = text.replace(f"{{{hole}}}", sql)
    return Native(text) if native else text


def translate(sql: str, engine: str, rewrite: Callable[[Any], Any], placeholder: Callable[[str], str]) -> str:
    """
    Return a template in the dialect that sqlglot calls ``engine``, ``{table}`` still in it.

    ``rewrite`` may change the parsed statement first; ``placeholder`` spells a bound value. sqlglot takes a third of a
    second to import, so it is imported here: whoever stays on DuckDB never pays for it.
    """
    import sqlglot
    from sqlglot import exp

    def spell(node: Any) -> Any:
        return exp.var(placeholder(node.name)) if isinstance(node, exp.Placeholder) else node

    tree = sqlglot.parse_one(sql.replace("{table}", TARGET), read="duckdb")
    translated: str = rewrite(tree).transform(spell).sql(dialect=engine)
    return translated.replace(TARGET, "{table}")
