"""
How long Airflow takes to parse a folder of 1,000 batches, beside 1,000 hand-written DAGs of the same shape.

    python benchmarks/parse.py [--batches N]

Prints seconds of wall time in this process, as one parse of the DAG file costs them, and the ratio. Exit code 1 if a
heavy library was imported on the way or 1,000 batches take more than the budget of 5 s.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path

HEAVY = ("pandas", "numpy", "pyod", "sklearn", "matplotlib", "duckdb", "sqlglot")
BUDGET_S_PER_1000 = 5.0

BATCH = """\
metric_batch: batch_{number}
description: Orders of shop {number}
schedule: "@hourly"
train_cron_schedule: "0 3 * * *"
alert_threshold: 0.9
tags: [shop, "{number}"]
ingest_sql: |
  SELECT date_trunc('hour', created_at) AS metric_timestamp, 'orders' AS metric_name, count(*) AS metric_value
  FROM orders_{number}
  WHERE created_at >= '{{{{ data_interval_start }}}}' AND created_at < '{{{{ data_interval_end }}}}'
  GROUP BY 1, 2
"""


def write_batches(folder: Path, count: int) -> None:
    for number in range(count):
        (folder / f"batch_{number}.yaml").write_text(BATCH.format(number=number))


def hand_written(count: int) -> int:
    """Build DAGs of four tasks in a row without reading anything."""
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import DAG

    from anomstack_provider.runtime.airflow_compat import CronDataIntervalTimetable

    dags = []
    for number in range(count):
        dag = DAG(
            f"plain_{number}",
            schedule=CronDataIntervalTimetable("@hourly", timezone="UTC"),
            start_date=datetime(2024, 1, 1),
            doc_md="plain",
        )
        tasks = [EmptyOperator(task_id=name, dag=dag) for name in ("ingest", "train", "score", "alert", "plot", "watch")]
        for before, after in pairwise(tasks):
            before >> after
        dags.append(dag)
    return len(dags)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=1000)
    count = parser.parse_args().batches
    with tempfile.TemporaryDirectory() as home:
        os.environ["AIRFLOW_HOME"] = home
        metrics = Path(home, "metrics")
        metrics.mkdir()
        write_batches(metrics, count)
        from anomstack_provider import generate_dags

        generate_dags(str(metrics / "none"))  # imports are paid once per process, not per batch
        started = time.perf_counter()
        dags = generate_dags(str(metrics))
        ours = time.perf_counter() - started
        started = time.perf_counter()
        hand_written(count)
        plain = time.perf_counter() - started
    assert len(dags) == count + 3, "one DAG per batch, and those of the folder: health, check, delete"
    heavy = sorted(name for name in HEAVY if name in sys.modules)
    budget = BUDGET_S_PER_1000 * count / 1000
    print(f"{count} batches:            {ours:6.2f} s  ({1000 * ours / count:.2f} ms each, budget {budget:g} s)")
    print(f"{count} hand-written DAGs:  {plain:6.2f} s")
    print(f"ratio:                     {ours / plain:6.1f}")
    print(f"heavy imports:             {', '.join(heavy) or 'none'}")
    return 1 if heavy or ours > budget else 0


if __name__ == "__main__":
    sys.exit(main())
