"""``docs/faults.md`` and the tests say the same: each fault has a test that exists, each test of these files a row."""

from __future__ import annotations

import ast
import re
from pathlib import Path

# Files that hold nothing but tests of faults: whatever is tested there is on the page.
WHOLE = [
    "tests/store/test_lost_connection.py",
    "tests/store/test_hand_changed_table.py",
    "tests/store/test_locks_of_others.py",
    "tests/store/test_disk_full.py",
    "tests/steps/test_poisoned.py",
    "tests/system/test_two_schedulers.py",
    "tests/system/test_kill.py",
]
_ROW = re.compile(r"^\|(?!\s*(?:Fault|-+)\b|-)(.+)\|$", re.MULTILINE)
_TEST = re.compile(r"^`(tests/[\w/]+\.py)::(test_\w+)`$")


def _rows(repository: Path) -> list[list[str]]:
    page = (repository / "docs" / "faults.md").read_text("utf-8")
    return [[cell.strip() for cell in row.split("|")] for row in _ROW.findall(page)]


def _tests(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_fault_has_a_test_that_exists(repository: Path) -> None:
    rows = _rows(repository)
    assert len(rows) > 30
    for row in rows:
        assert len(row) == 4, row
        assert all(row), row
        named = _TEST.match(row[3])
        assert named, f"no test in the row of {row[0]!r}"
        path = repository / named[1]
        assert path.exists(), named[1]
        assert named[2] in _tests(path), f"{named[1]} has no {named[2]}"


def test_every_test_of_a_fault_is_on_the_page(repository: Path) -> None:
    listed = {row[3].strip("`") for row in _rows(repository)}
    tested = {f"{file}::{name}" for file in WHOLE for name in _tests(repository / file)}
    assert tested - listed == set()
