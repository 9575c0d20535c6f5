"""What reads the clock, all of it: a worker whose clock is wrong by hours changes nothing but what stands here."""

from __future__ import annotations

import re
from pathlib import Path

READS = re.compile(r"\b(?:datetime|date|Timestamp|pendulum)\.(?:now|utcnow|today)\(|\btime\.time\(|timezone\.utcnow\(")
# Whoever may, and what for. Durations are measured by time.monotonic, which no one can set.
ALLOWED = {
    "operators/delete.py": "models that nobody has read for long",
    "cli.py": "a warning that a preview ends in the future",
    "cli_feedback.py": "when a person gave a verdict",
    "ui/api.py": "when a person gave a verdict",
    "ui/pages.py": "the end of the window that a page shows",
}
SQL_CLOCK = re.compile(r"CURRENT_TIMESTAMP|\bNOW\s*\(|GETDATE|SYSDATE|'now'", re.IGNORECASE)


def test_nothing_else_reads_the_clock(repository: Path) -> None:
    package = repository / "anomstack_provider"
    reading = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if READS.search(path.read_text("utf-8")) and path.relative_to(package).parts[0] != "migrate"
    }
    assert reading == set(ALLOWED)


def test_one_statement_of_ours_asks_the_database_s_clock(repository: Path) -> None:
    """For the ledger's times: when a message was recorded, claimed, tried and sent."""
    folder = repository / "anomstack_provider" / "store" / "sql"
    files = sorted(folder.rglob("*.sql"))
    assert files
    asking = [path.relative_to(folder).as_posix() for path in files if SQL_CLOCK.search(path.read_text("utf-8"))]
    assert asking == ["now.sql", "sqlite/now.sql"]
    users = [path.name for path in folder.parent.rglob("*.py") if '"now")' in path.read_text("utf-8")]
    assert users == ["ledger.py"]
