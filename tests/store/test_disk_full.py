"""The disk is full in the middle of a write: the old rows are all there, and with room again the same write works."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from anomstack_provider.store.metric_store import MetricStore

START = datetime(2024, 1, 1)
ROOM = 60_000  # bytes, less than the new rows take


def with_little_room(path: Path, work: Callable[[], None]) -> None:
    """Run work in this process, which can make no file larger than the database's is, and a little."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that writing fails, as on a full disk, instead of killing
    size = path.stat().st_size + ROOM
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    work()


@pytest.mark.parametrize("engine", ["duckdb", "sqlite"])
def test_a_full_disk_leaves_the_old_rows_and_an_error(
    make_database: Any, frame: Any, stored: Any, processes: Any, tmp_path: Path, engine: str
) -> None:
    database = make_database(engine)
    store = MetricStore(database.hook(), "metrics", "sales")
    store.replace(frame([(f"m{n}", "metric", START + timedelta(minutes=n), n + 0.25) for n in range(500)]))
    before = stored(store)
    many = frame(
        [(f"m{n}", "metric", START + timedelta(minutes=n), 0.1 * n, f"{n * 7919:x}" * 60) for n in range(4000)]
    )
    path = next(path for path in tmp_path.rglob("*") if path.suffix in (".duckdb", ".sqlite"))
    said = tmp_path / "said"

    def write() -> None:
        try:
            MetricStore(database.hook(), "metrics", "sales", lock_wait=5).replace(many)
        except Exception as error:
            # Into a file that is there already would not do: this process may not write much.
            said.write_text(f"{type(error).__name__}: {error}")

    processes.all([lambda: with_little_room(path, write)])
    assert said.exists(), "the write did not fail"
    assert any(word in said.read_text().lower() for word in ("full", "disk", "too large", "i/o", "write")), (
        said.read_text()
    )
    assert stored(MetricStore(database.hook(), "metrics", "sales")) == before
    assert MetricStore(database.hook(), "metrics", "sales").replace(many) == 4000
    assert len(stored(store)) == 4000
