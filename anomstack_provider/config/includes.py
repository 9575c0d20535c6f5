"""Files that the templates of a folder include and that are not there. Read for a check, never while Airflow parses."""

from __future__ import annotations

import os
from collections.abc import Iterator

from anomstack_provider.config.loaded import LoadedBatch, LoadedFolder
from anomstack_provider.config.overrides import KEYS, is_built_in

_OF_THE_LANGUAGE_MODEL = ("prompt_fn", "llmalert_sql")


def missing_includes(folder: LoadedFolder) -> list[str]:
    """Return a sentence with file, line and key for every include of a batch that cannot be read."""
    return [
        problem
        for _, batch in sorted(folder.batches.items())
        if not batch.disabled
        for problem in _missing(batch, folder.metrics_dir)
    ]


def _missing(batch: LoadedBatch, metrics_dir: str | os.PathLike[str]) -> Iterator[str]:
    for key in ("ingest_sql", "ingest_fn", *KEYS):
        text = getattr(batch.spec, key)
        if text is None or "{%" not in text or is_built_in(text):
            continue
        if key in _OF_THE_LANGUAGE_MODEL and batch.spec.disable_llmalert:
            continue  # not used: Anomstack's own folder names a prompt that it does not ship
        place = f"{batch.source(key)}: {key}"
        for name in _unreadable(text, metrics_dir):
            yield f"{place}: include of '{name}' cannot be read; paths start at the metrics folder"


def _unreadable(text: str, metrics_dir: str | os.PathLike[str]) -> list[str]:
    """Return the names that a template, and what it includes, includes by name and needs, and that cannot be read."""
    from jinja2 import TemplateNotFound, TemplateSyntaxError, nodes

    from anomstack_provider.config.templating import environment

    env = environment(metrics_dir)
    waiting, seen, unreadable = [text], set[str](), list[str]()
    while waiting:
        try:
            tree = env.parse(waiting.pop())
        except TemplateSyntaxError:
            continue  # an error of its own when it is rendered
        for node in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
            named = node.template  # type: ignore[attr-defined]
            if not isinstance(named, nodes.Const) or not isinstance(named.value, str) or named.value in seen:
                continue
            seen.add(named.value)
            try:
                assert env.loader is not None
                waiting.append(env.loader.get_source(env, named.value)[0])
            except TemplateNotFound:
                if not getattr(node, "ignore_missing", False):
                    unreadable.append(named.value)
    return unreadable
