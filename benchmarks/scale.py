"""
What a preview of a large batch costs: CPU per metric and peak memory, from a thousand metrics to a hundred thousand.

    python benchmarks/scale.py [--metrics 1000 --metrics 10000] [--shard 1000] [--days 28]

The metrics are daily, with 90 days of history before the previewed days and a model a week. They are read from a DuckDB
file, in as many shards as there are groups of ``--shard`` metrics. Each size runs in a process of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

START = datetime(2024, 7, 1, tzinfo=UTC)
LEAD_DAYS = 90


def fill(path: Path, metrics: int, days: int) -> int:
    """Store daily metrics with a weekly season, noise, and a day far out for one in ten; return how many rows."""
    first = START - timedelta(days=LEAD_DAYS)
    with duckdb.connect(str(path)) as connection:
        connection.execute("SET TimeZone = 'UTC'; SELECT setseed(0.5)")
        found = connection.execute(
            f"""
            INSERT INTO metrics
            SELECT TIMESTAMP '{first:%Y-%m-%d}' + INTERVAL 1 DAY * day, 'b', printf('m%06d', metric), 'metric',
                100 + 10 * sin(2 * pi() * (day + metric) / 7) + 3 * (random() + random() + random() - 1.5)
                + CASE WHEN metric % 10 = 0 AND day = {LEAD_DAYS} + metric // 10 % {days} THEN 60 ELSE 0 END,
                NULL
            FROM range({metrics}) AS metrics(metric), range({LEAD_DAYS + days}) AS days(day)
            """
        ).fetchone()
    assert found is not None
    return int(found[0])


def measure(metrics: int, shard: int, days: int, folder: Path) -> dict[str, Any]:
    """Preview one size in this process and return what it took."""
    os.environ["AIRFLOW_HOME"] = str(folder)

    from anomstack_provider.config.spec import BatchSpec
    from anomstack_provider.runtime.window import RunWindow
    from anomstack_provider.steps.preview import preview
    from anomstack_provider.store.hooks import EmbeddedDuckDBHook
    from anomstack_provider.store.metric_store import MetricStore

    logging.disable(logging.INFO)  # as the command line does
    keys = {"schedule": "@daily", "train_cron_schedule": "@weekly", "shards": -(-metrics // shard)}
    spec = BatchSpec.model_validate({"metric_batch": "b", "ingest_sql": "-", **keys})
    table = MetricStore(EmbeddedDuckDBHook(folder / "metrics.duckdb"), spec.table_key, spec.metric_batch)
    window = RunWindow(START, START + timedelta(days=days))
    before = peak()
    wall, cpu = time.perf_counter(), time.process_time()
    found = preview(spec, window, table, keep_scores=False)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    told = "".join(f"{a.event_id}{a.transition}{a.bucket}{a.value}{a.score}\n" for a in found.alerts)
    return {
        "cpu": cpu,
        "wall": wall,
        "before": before,
        "peak": peak(),
        "alerts": len(found.alerts),
        "digest": hashlib.sha256(told.encode()).hexdigest()[:12],
    }


def peak() -> float:
    """Return the most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def apart(metrics: int, shard: int, days: int) -> dict[str, Any]:
    """Measure one size in a process of its own, with one thread for arithmetic."""
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, __file__, "--metrics", str(metrics), "--shard", str(shard), "--days", str(days)]
        one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        for phase in ("fill", "measure"):
            done = subprocess.run(
                [*command, "--phase", phase, "--folder", name],
                env=os.environ | one_thread,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer


def create(folder: Path) -> None:
    """Create the metrics table."""
    os.environ["AIRFLOW_HOME"] = str(folder)

    from anomstack_provider.store.hooks import EmbeddedDuckDBHook
    from anomstack_provider.store.metric_store import MetricStore

    MetricStore(EmbeddedDuckDBHook(folder / "metrics.duckdb"), "metrics", "b").ensure_table()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--metrics", type=int, action="append", help="how many; may be given several times (1000)")
    parser.add_argument("--shard", type=int, default=1000, help="metrics per shard (%(default)s)")
    parser.add_argument("--days", type=int, default=28, help="days to preview (%(default)s)")
    parser.add_argument("--phase", choices=["fill", "measure"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = options.metrics or [1000]
    if options.phase == "fill":
        create(options.folder)
        fill(options.folder / "metrics.duckdb", sizes[0], options.days)
        return
    if options.phase == "measure":
        print(json.dumps(measure(sizes[0], options.shard, options.days, options.folder)))
        return
    print(f"{options.days} days of daily metrics, {LEAD_DAYS} days before them, a model a week")
    print("  metrics  shards    CPU s  ms/metric   wall s  before  peak MiB   alerts  their digest")
    for metrics in sizes:
        one = apart(metrics, options.shard, options.days)
        print(
            f"{metrics:9,}{-(-metrics // options.shard):8,}{one['cpu']:9.1f}{1000 * one['cpu'] / metrics:11.2f}"
            f"{one['wall']:9.1f}{one['before']:8.0f}{one['peak']:10.0f}{one['alerts']:9,}  {one['digest']}",
            flush=True,
        )


if __name__ == "__main__":
    main()
