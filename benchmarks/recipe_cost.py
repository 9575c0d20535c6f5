"""
What training and scoring a batch once costs: a plain recipe beside ours, on the same series in one run.

    python benchmarks/recipe_cost.py [--metrics 100 --metrics 1000 --metrics 10000] [--shard 1000]

The plain recipe is what a script does: a pandas loop over the metrics that differences, smooths and lags, fits PyOD's
PCA and KNN, pickles one file per metric, reads it again and scores the newest 25 buckets. Ours are the train and the
score step, on a table in memory and the real model store in a temporary folder; a batch larger than ``--shard`` metrics
is split into shards, one after another. Every side gets 1,000 hourly points to train on and the 25 after them to score,
in a process of its own; imports and the making of the series are not counted. The compatible recipe is compared with
PyOD's own fit and predict: the same models on the same features with nothing around them.
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
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

POINTS = 1000
NEWEST = 25
# The moment of training; the buckets to score follow it.
TICK = datetime(2024, 3, 1, tzinfo=UTC)
UPSTREAM: list[dict[str, Any]] = [
    {"model_name": "PCA", "model_tag": "pca_default", "model_params": {"contamination": 0.01}},
    {"model_name": "KNN", "model_tag": "knn_default", "model_params": {"contamination": 0.01}},
]


@dataclass(frozen=True)
class Cost:
    """
    What one side took, CPU and wall in seconds, memory in MiB.

    :param table_cpu: of ``cpu``, what reading and writing the table in memory took.
    :param memory: peak of the process, of which ``before`` was there before it began: the series themselves.
    """

    cpu: float
    wall: float
    table_cpu: float
    memory: float
    before: float
    objects: int
    bytes: int
    scores: int


def series(metrics: int) -> Any:
    """Return columns metric_name, metric_timestamp and metric_value: daily and weekly seasons, noise, a few spikes."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(7)
    count = POINTS + NEWEST
    start = TICK.replace(tzinfo=None) - timedelta(hours=POINTS)
    times = pd.date_range(start, periods=count, freq="h").to_numpy().astype("datetime64[us]")
    hours = np.arange(count)
    values = 200 + 5 * rng.normal(size=(metrics, count))
    values += 30 * np.sin(hours * 2 * np.pi / 24) + 10 * np.sin(hours * 2 * np.pi / 168)
    values[rng.integers(0, metrics, 5 * metrics), rng.integers(0, count, 5 * metrics)] += 150
    names = np.repeat(np.array([f"m{number:05d}" for number in range(metrics)], object), count)
    stamps = np.tile(times, metrics)
    return pd.DataFrame({"metric_name": names, "metric_timestamp": stamps, "metric_value": values.ravel()})


# --- the sides -------------------------------------------------------------------------------------------------------


def plain(metrics: int, shard: int, folder: Path) -> tuple[Callable[[], int], Callable[[], float]]:
    """Return the plain recipe, ready to run."""
    import pickle

    import pandas as pd
    from pyod.models.knn import KNN
    from pyod.models.pca import PCA

    frame = series(metrics)

    def features(one: pd.DataFrame) -> pd.DataFrame:
        made = pd.DataFrame({"lag_0": one["metric_value"].diff().rolling(3).mean()})
        for lag in range(1, 6):
            made[f"lag_{lag}"] = made["lag_0"].shift(lag)
        return made.dropna()

    def train() -> None:
        cut = TICK.replace(tzinfo=None)
        for name, one in frame[frame["metric_timestamp"] < cut].groupby("metric_name"):
            rows = features(one.sort_values("metric_timestamp"))
            models = [PCA(contamination=0.01), KNN(contamination=0.01)]
            for model in models:
                model.fit(rows.to_numpy())
            with open(folder / f"{name}.pkl", "wb") as file:
                pickle.dump(models, file)

    def score() -> int:
        scored = []
        for name, one in frame.groupby("metric_name"):
            one = one.sort_values("metric_timestamp").tail(NEWEST + 8)
            rows = features(one).tail(NEWEST)
            with open(folder / f"{name}.pkl", "rb") as file:
                models = pickle.load(file)
            total = 0.0
            for model in models:
                low, high = model.decision_scores_.min(), model.decision_scores_.max()
                total = total + ((model.decision_function(rows.to_numpy()) - low) / (high - low)).clip(0, 1)
            found = one.loc[rows.index, ["metric_name", "metric_timestamp"]]
            scored.append(found.assign(metric_type="score", metric_value=total / len(models)))
        return len(pd.concat([frame, *scored])) - len(frame)

    def run() -> int:
        train()
        return score()

    return run, lambda: 0.0


def ours(metrics: int, shard: int, folder: Path, **keys: Any) -> tuple[Callable[[], int], Callable[[], float]]:
    """Return our train and score steps, ready to run."""
    from anomstack_provider.artifacts.model_store import ModelStore
    from anomstack_provider.config.spec import BatchSpec
    from anomstack_provider.runtime.window import RunWindow
    from anomstack_provider.steps import score, train
    from anomstack_provider.steps.overlay import MemoryRows

    class TimedRows(MemoryRows):
        """The table in memory, with what it costs."""

        cpu = 0.0

        def read(self, *types: Any, **limits: Any) -> Any:
            begin = time.process_time()
            found = super().read(*types, **limits)
            self.cpu += time.process_time() - begin
            return found

        def replace(self, *rows: Any, **limits: Any) -> int:
            begin = time.process_time()
            count = super().replace(*rows, **limits)
            self.cpu += time.process_time() - begin
            return count

    def steps(spec: BatchSpec, table: MemoryRows, store: ModelStore, shards: int) -> int:
        hour = timedelta(hours=1)
        first, last = RunWindow(TICK, TICK + hour), RunWindow(TICK + (NEWEST - 1) * hour, TICK + NEWEST * hour)
        for number in range(shards):
            train.train(spec, first, table, store, shard=number, shards=shards)
        found = [score.score(spec, last, table, store, shard=number, shards=shards) for number in range(shards)]
        return sum(result.rows for result in found)

    def filled(count: int) -> TimedRows:
        table = TimedRows()
        table.replace(series(count).assign(metric_type="metric", metadata=None))
        table.cpu = 0.0
        return table

    batch = {
        "metric_batch": "b",
        "ingest_sql": "-",
        "schedule": "@hourly",
        # All buckets are scored with the one model of the month: the newest, and those before it without a score.
        "train_cron_schedule": "@monthly",
        "score_max_n": NEWEST - 1,
    }
    spec = BatchSpec.model_validate({**batch, **keys})
    with tempfile.TemporaryDirectory() as elsewhere:
        steps(spec, filled(3), ModelStore(Path(elsewhere)), 1)  # imports are not part of the measurement
    table, store = filled(metrics), ModelStore(folder)
    return lambda: steps(spec, table, store, -(-metrics // shard)), lambda: table.cpu


def compatible(metrics: int, shard: int, folder: Path) -> tuple[Callable[[], int], Callable[[], float]]:
    """Return our steps with upstream's recipe."""
    from anomstack_provider.config.spec import BatchSpec

    recipe = {"recipe": "anomstack"} if "recipe" in BatchSpec.model_fields else {}
    return ours(metrics, shard, folder, model_configs=UPSTREAM, **recipe)


def pyod_alone(metrics: int, shard: int, folder: Path) -> tuple[Callable[[], int], Callable[[], float]]:
    """Return fit and predict of the compatible recipe's models on its features, with nothing around them."""
    from anomstack_provider.config.spec import PreprocessParams
    from anomstack_provider.detection import detectors, features

    recipe = PreprocessParams()
    values = series(metrics)["metric_value"].to_numpy().reshape(metrics, -1)
    matrices = [features.lag_matrix(row, recipe) for row in values]
    for model in UPSTREAM:
        detectors.detector_class(model["model_name"])

    def run() -> int:
        for matrix in matrices:
            for model in UPSTREAM:
                detector = detectors.build(model["model_name"], model["model_params"])
                detector.fit(matrix[:-NEWEST])
                detector.decision_function(matrix[-NEWEST:])
        return metrics * NEWEST

    return run, lambda: 0.0


SIDES = {"plain recipe": plain, "ours": ours, "compatible recipe": compatible, "PyOD alone": pyod_alone}


# --- measuring -------------------------------------------------------------------------------------------------------


def measure(side: str, metrics: int, shard: int) -> Cost:
    """Run one side in this process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run, table_cpu = SIDES[side](metrics, shard, folder)
        before = peak()
        wall, cpu = time.perf_counter(), time.process_time()
        scores = run()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        files = [path for path in folder.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        return Cost(cpu, wall, table_cpu(), peak(), before, len(files), size, scores)


def peak() -> float:
    """Return the most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def apart(side: str, metrics: int, shard: int) -> Cost:
    """Run one side in a process of its own, with one thread."""
    command = [sys.executable, __file__, "--metrics", str(metrics), "--shard", str(shard), "--side", side]
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, env=os.environ | one_thread, stdout=subprocess.PIPE, text=True, check=True)
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def report(metrics: int, costs: dict[str, Cost]) -> str:
    """Return the table of all sides and the two ratios."""
    head = f"{'':18}{'CPU s':>9}{'table':>8}{'wall s':>9}{'ms/metric':>11}{'peak MiB':>10}{'before':>8}{'objects':>9}"
    lines = [f"{metrics:,} metrics x {POINTS:,} points, {NEWEST} scored", f"{head}{'MB':>9}{'scores':>10}"]
    for side, cost in costs.items():
        lines.append(
            f"{side:18}{cost.cpu:9.2f}{cost.table_cpu:8.2f}{cost.wall:9.2f}{1000 * cost.cpu / metrics:11.2f}"
            f"{cost.memory:10.0f}{cost.before:8.0f}{cost.objects:9,}{cost.bytes / 1e6:9.1f}{cost.scores:10,}"
        )
    cpu = {side: cost.cpu for side, cost in costs.items()}
    if {"plain recipe", "ours"} <= cpu.keys():
        lines.append(f"plain recipe / ours:            {cpu['plain recipe'] / cpu['ours']:6.2f} times the CPU")
    if {"compatible recipe", "PyOD alone"} <= cpu.keys():
        lines.append(
            f"compatible recipe / PyOD alone: {cpu['compatible recipe'] / cpu['PyOD alone']:6.2f} times the CPU"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--metrics", type=int, action="append", help="how many; may be given several times (1000)")
    parser.add_argument("--shard", type=int, default=1000, help="metrics per shard, at most (%(default)s)")
    parser.add_argument("--side", choices=SIDES, help="measure this one, in this process, and print JSON")
    options = parser.parse_args()
    os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp())
    for metrics in options.metrics or [1000]:
        if options.side:
            print(json.dumps(asdict(measure(options.side, metrics, options.shard))))
        else:
            print(report(metrics, {side: apart(side, metrics, options.shard) for side in SIDES}), flush=True)


if __name__ == "__main__":
    main()
