"""
Texts of a batch that stand in the place of what is built in: a step's own query, a function of its own for features.

Here is which of them act, what they include and which keys they name. Rendering is in ``templating``, running a query
in ``wiring``, what its rows must be in ``steps.overrides``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

QUERIES = ("train_sql", "score_sql", "alert_sql", "change_sql")
KEYS = (
    *QUERIES,
    "preprocess_fn",
    "plot_sql",
    "dashboard_sql",
    "summary_sql",
    "delete_sql",
    "llmalert_sql",
    "prompt_fn",
)

# What the defaults.yaml of every Anomstack folder gives these keys: its own templates, whose meaning is built in here.
_BUILT_IN = re.compile(r"""\s*\{%-?\s*include\s+(["'])(?:\./)?defaults/(?:sql|python)/[^"']+\1\s*-?%\}[\s;]*""")
_CLOCK = re.compile(
    r"\b(current_timestamp|current_date|localtimestamp|get_current_timestamp|getdate|sysdate|now|today)\b", re.I
)


def is_built_in(text: str) -> bool:
    """Whether a text only includes a file of ``./defaults/sql`` or ``./defaults/python``, as Anomstack's do."""
    return _BUILT_IN.fullmatch(text) is not None


@dataclass(frozen=True)
class Sources:
    """
    What a template is made of beside its own text.

    :param files: content of each file that it includes, by the name it is included by; "" where it cannot be read.
    :param names: every name in it that it does not define itself.
    """

    files: dict[str, str] = field(default_factory=dict)
    names: frozenset[str] = frozenset()

    @classmethod
    def of(cls, text: str, metrics_dir: str | os.PathLike[str]) -> Sources:
        """Read what a template includes, and what that includes; nothing is rendered, and no mistake raised."""
        from jinja2 import TemplateSyntaxError, meta

        from anomstack_provider.config.folder import within
        from anomstack_provider.config.templating import environment

        env = environment(metrics_dir)
        files: dict[str, str] = {}
        names: set[str] = set()
        waiting = [text]
        while waiting:
            try:
                tree = env.parse(waiting.pop())
            except TemplateSyntaxError:
                continue
            names |= meta.find_undeclared_variables(tree)
            for name in meta.find_referenced_templates(tree):
                if name is None or name in files:
                    continue
                path = within(metrics_dir, name)
                try:
                    files[name] = Path(path or "").read_text("utf-8")
                except (OSError, UnicodeDecodeError):
                    files[name] = ""
                waiting.append(files[name])
        return cls(dict(sorted(files.items())), frozenset(names))


def clock_in(texts: Collection[str]) -> str | None:
    """Return the first function in SQL texts that reads the clock, None if there is none; comments are passed over."""
    for text in texts:
        if found := _CLOCK.search(re.sub(r"--[^\n]*|/\*.*?\*/|\{#.*?#\}", " ", text, flags=re.S)):
            return found[0]
    return None
