"""
Where the time of a preview goes: a year of hourly history for 100 metrics with daily retraining.

    python benchmarks/preview.py [--metrics 100] [--days 365] [--recipe anomstack]

Prints wall and CPU seconds of the whole preview, and with recipe anomstack how much of it is PyOD's own fit and
predict: the same models on the same features, called with nothing around them, in the same run.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

START = datetime(2024, 1, 1, tzinfo=UTC)
LEAD_DAYS = 90


def hourly(metrics: int, days: int) -> pd.DataFrame:
    """Series with a daily and a weekly season and noise, a spike now and then."""
    times = pd.date_range(START - timedelta(days=LEAD_DAYS), periods=24 * (LEAD_DAYS + days), freq="1h").tz_localize(
        None
    )
    hours = np.arange(len(times))
    frames = []
    for number in range(metrics):
        rng = np.random.default_rng(number)
        season = 30 * np.sin(hours * 2 * np.pi / 24) + 10 * np.sin(hours * 2 * np.pi / 168)
        values = 200 + season + rng.normal(0, 5, len(times))
        values[rng.integers(0, len(times), 20)] += 150
        frames.append(
            pd.DataFrame({"metric_name": f"m{number:05d}", "metric_timestamp": times, "metric_value": values})
        )
    rows = pd.concat(frames, ignore_index=True).assign(metric_type="metric", metadata=None)
    return rows.astype({"metric_timestamp": "datetime64[us]"})


def timed(function: Callable[[], Any]) -> tuple[float, float, Any]:
    """Return wall seconds, CPU seconds and the result."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--metrics", type=int, default=100)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--recipe", choices=["seasonal", "anomstack"], default="seasonal")
    arguments = parser.parse_args()
    os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp())

    from anomstack_provider.config.spec import BatchSpec
    from anomstack_provider.detection import detectors, features
    from anomstack_provider.runtime.window import RunWindow
    from anomstack_provider.steps import preview as preview_step
    from anomstack_provider.steps.overlay import MemoryRows

    spec = BatchSpec.model_validate(
        {
            "metric_batch": "b",
            "ingest_sql": "-",
            "schedule": "@hourly",
            "train_cron_schedule": "@daily",
            "recipe": arguments.recipe,
        }
    )
    for config in spec.model_configs:
        detectors.detector_class(config.model_name)  # imports are not part of the measurement
    rows = MemoryRows()
    rows.replace(hourly(arguments.metrics, arguments.days))
    window = RunWindow(START, START + timedelta(days=arguments.days))
    wall, cpu, found = timed(lambda: preview_step.preview(spec, window, rows))

    buckets = arguments.metrics * arguments.days * 24
    print(f"{arguments.metrics} metrics x {arguments.days} days hourly, trained daily: {buckets:,} buckets")
    print(f"preview:                 {wall:8.1f} s wall, {cpu:8.1f} s CPU, {len(found.alerts)} alerts")
    print(f"peak memory:             {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:8.0f} MiB")
    if arguments.recipe == "seasonal":
        return

    # One metric's year of PyOD alone: each day's fit, and each day's 24 buckets scored.
    values = rows.read(["metric"], since=None, until=window.end, metrics=["m00000"])["metric_value"].to_numpy()
    matrix = features.lag_matrix(values, spec.preprocess_params)
    reach = features.reach(spec.preprocess_params)

    def pyod_alone() -> None:
        for day in range(arguments.days):
            stop = 24 * (LEAD_DAYS + day) - reach
            for config in spec.model_configs:
                model = detectors.build(config.model_name, config.model_params)
                model.fit(matrix[max(stop - 24 * LEAD_DAYS + reach, 0) : stop])
                model.decision_function(matrix[stop : stop + 24])

    _, alone, _ = timed(pyod_alone)
    alone *= arguments.metrics
    print(f"PyOD's fit and predict:  {alone:8.1f} s CPU (one metric's year, times {arguments.metrics})")
    print(f"ratio:                   {cpu / alone:8.2f}")


if __name__ == "__main__":
    sys.exit(main())
