"""
The SQL templates of ``sql/`` and their translation; no engine is named here.

A template is one statement in DuckDB's dialect with these additions:

- ``$name`` is a bound value, in every engine.
- ``{table}`` stands for the quoted name of the table.
- other ``{holes}`` are filled by the caller with text that this package made: never with a user's.
- a line that ends in ``-- only with: X`` is there only when the caller asks for ``X``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any

_OPTIONAL = re.compile(r"\s*-- only with: (\w+)\s*$")
_COMMENT = re.compile(r"\s*--.*$")
_TABLE = "anomstack_target"


@cache
def _lines(name: str) -> tuple[str, ...]:
    text = resources.files(__package__).joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
    return tuple(text.splitlines())


@cache
def template(name: str, *only: str, **holes: str) -> str:
    """Return the template ``name`` with the optional lines of ``only`` and ``holes`` filled in."""
    kept = []
    for line in _lines(name):
        option = _OPTIONAL.search(line)
        if option is None or option[1] in only:
            kept.append(_COMMENT.sub("", line))
    text = "\n".join(line for line in kept if line.strip())
    for hole, sql in holes.items():
        text = text.replace(f"{{{hole}}}", sql)
    return text


def translate(sql: str, engine: str, rewrite: Callable[[Any], Any]) -> str:
    """
    Return a template in the dialect that sqlglot calls ``engine``, ``{table}`` still in it.

    ``rewrite`` may change the parsed statement first. sqlglot takes a third of a second to import, so it is
    imported here: whoever stays on DuckDB never pays for it.
    """
    import sqlglot

    tree = sqlglot.parse_one(sql.replace("{table}", _TABLE), read="duckdb")
    translated: str = rewrite(tree).sql(dialect=engine)
    return translated.replace(_TABLE, "{table}")
