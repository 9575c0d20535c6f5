"""
Time and memory of reading a range of a metrics table that holds millions of rows: they follow the range, not the table.

    python benchmarks/range_reads.py --rows 10000000                       # the embedded DuckDB file, a new one
    AIRFLOW_CONN_BENCH='{"conn_type": ...}' python benchmarks/range_reads.py --rows 10000000 --conn-id bench

The table is made by the store, in a database that has none yet, and filled by one statement of the engine's own: 1,000
metrics, a row an hour each. Then a new process a read: the last day, the last 100 hours, and what training takes of
every metric. Each prints its rows, seconds and the peak of its memory; the first one reads nothing, to compare with.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

METRICS = 1_000
START = datetime(2020, 1, 1, tzinfo=UTC)
TABLE = "range_reads"

NUMBERS = {
    "duckdb": "SELECT range AS n FROM range({rows})",
    "postgres": "SELECT n FROM generate_series(0, {rows} - 1) AS n",
    "sqlite": (
        "SELECT n FROM (WITH RECURSIVE x(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM x LIMIT {rows}) SELECT n FROM x)"
    ),
    "mysql": "SELECT seq AS n FROM seq_0_to_{last}",
}
TIMES = {
    "duckdb": "TIMESTAMP '2020-01-01' + INTERVAL 1 HOUR * (n // 1000)",
    "postgres": "TIMESTAMP '2020-01-01' + INTERVAL '1 hour' * (n / 1000)",
    "sqlite": "strftime('%Y-%m-%d %H:%M:%S', '2020-01-01', '+' || (n / 1000) || ' hours') || '.000000'",
    "mysql": "TIMESTAMPADD(HOUR, n DIV 1000, TIMESTAMP '2020-01-01 00:00:00')",
}
NAMES = {engine: "'metric ' || (n % 1000)" for engine in NUMBERS} | {"mysql": "CONCAT('metric ', n % 1000)"}


def fill(hook: Any, rows: int, table: str = TABLE) -> float:
    """Make the table and fill it; return the seconds."""
    from anomstack_provider.store.dialects import store_dialect
    from anomstack_provider.store.metric_store import MetricStore
    from anomstack_provider.store.statements import Native

    began = time.monotonic()
    MetricStore(hook, table, "batch").ensure_table()
    dialect = store_dialect(hook)
    numbers = NUMBERS[dialect.engine].format(rows=rows, last=rows - 1)
    sql = (
        "INSERT INTO {table} (metric_timestamp, metric_batch, metric_name, metric_type, metric_value, metadata) "
        f"SELECT {TIMES[dialect.engine]}, 'batch', {NAMES[dialect.engine]}, 'metric', n * 0.1, NULL "
        f"FROM ({numbers}) AS numbers"
    )
    dialect.run(hook, table, lambda session: session.execute(Native(sql)), write=True, wait=3600)
    return time.monotonic() - began


def read(hook: Any, what: str, rows: int, table: str = TABLE) -> dict[str, Any]:
    """Read ``what`` of the table; return the number of rows, the seconds and this process's peak memory in MB."""
    from anomstack_provider.store.metric_store import MetricStore

    store = MetricStore(hook, table, "batch")
    end = START + timedelta(hours=rows // METRICS)
    hours = {"nothing": 0, "a day": 24, "100 hours": 100}
    began = time.monotonic()
    if what in hours:
        found = store.read(["metric"], since=end - timedelta(hours=hours[what]), until=end)
    else:
        found = store.read(["metric"], since=end - timedelta(days=90), until=end, newest=100)
    seconds = time.monotonic() - began
    return {"rows": len(found), "seconds": seconds, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


READS = ("nothing", "a day", "100 hours", "the newest 100 of 90 days")


def measured(conn_id: str, path: str, what: str, rows: int, table: str = TABLE) -> dict[str, Any]:
    """Return what :func:`read` gives in a new process."""
    command = [sys.executable, __file__, "--conn-id", conn_id, "--path", path, "--table", table]
    done = subprocess.run(
        [*command, "--rows", str(rows), "--read", what], capture_output=True, text=True, check=False, timeout=3600
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def main() -> None:
    """Fill, then read, or with ``--read`` only that."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--conn-id", default="", help="an Airflow connection; without, a DuckDB file")
    parser.add_argument("--path", default="", help="of the DuckDB file")
    parser.add_argument("--table", default=TABLE)
    parser.add_argument("--read", choices=READS, help="one read of a table that is there")
    options = parser.parse_args()
    path = options.path or str(Path(tempfile.mkdtemp(prefix="anomstack-range-")) / "metrics.duckdb")

    from anomstack_provider.store.hooks import open_hook

    hook = open_hook(options.conn_id or None, path)
    if options.read:
        print(json.dumps(read(hook, options.read, options.rows, options.table)))
        return
    print(f"{options.rows:,} rows written in {fill(hook, options.rows, options.table):.0f} s", flush=True)
    for what in READS:
        found = measured(options.conn_id, path, what, options.rows, options.table)
        print(f"{what:<28} {found['rows']:>9,} rows  {found['seconds']:6.1f} s  peak {found['mb']:,.0f} MB", flush=True)


if __name__ == "__main__":
    os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
    main()
