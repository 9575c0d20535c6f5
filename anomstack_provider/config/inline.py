"""Files that a batch's values name, put in their place as text: the iCalendar files of ``events``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from anomstack_provider.config.document import DocumentError, decode
from anomstack_provider.config.explain import Problem
from anomstack_provider.config.folder import within
from anomstack_provider.config.ics import check_ics, is_path
from anomstack_provider.config.layers import Merged


def inline_calendars(root: Path, batch_path: str, merged: Merged) -> tuple[dict[str, Any], list[Problem]]:
    """
    Return the values with the text of each iCalendar file instead of its name, and the files that cannot be used.

    A name is relative to the file that gives it, the batch's or the folder's defaults; a variable's to the batch's.
    """
    events = merged.values.get("events")
    if not isinstance(events, list):
        return merged.values, []
    layer = merged.layers["events"]
    folder = os.path.dirname(layer.name if layer.kind == "folder" else batch_path)
    entries, problems = [], []
    for position, entry in enumerate(events):
        name = entry.get("ics") if isinstance(entry, dict) else None
        if isinstance(name, str) and name.strip() and is_path(name):
            try:
                entry = {**entry, "ics": check_ics(_text(root, folder, name))}
            except ValueError as error:
                problems.append(Problem(("events", position, "ics"), f"'{name}' {error}"))
        entries.append(entry)
    return {**merged.values, "events": entries}, problems


def _text(root: Path, folder: str, name: str) -> str:
    path = within(root, os.path.join(folder, name))
    if path is None:
        raise ValueError("is outside the metrics folder; put the file into it")
    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError("is not a regular file")
    try:
        return decode(Path(path).read_bytes())
    except DocumentError as error:
        raise ValueError(error.message) from None
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror}); the path starts at the folder of this file") from None
