"""
How well anomalies are found: ours, the compatible recipe and plain baselines side by side, on labelled series.

    python -m benchmarks.detection [hourly] [daily] [nab=FOLDER] [PREFIX] [--part test] [--only ours] [--series 12]

A dataset is ``hourly`` or ``daily`` (our own synthetic metrics), ``nab=FOLDER`` (a checkout of the Numenta benchmark),
or the PREFIX of ``PREFIX.csv.gz`` and ``PREFIX_labels.json``. Every method walks forward: a bucket's score uses nothing
after it. Ours and the compatible recipe run through the product's preview, with one configuration for all; ours is
trained as by default, the compatible recipe daily. Nothing is cached. ``--scores`` writes score tables and labels,
which the yardstick reads.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.detection import dataset, nab, product, report, synthetic
from benchmarks.detection.baselines import BASELINES
from benchmarks.detection.dataset import Dataset
from benchmarks.detection.figures import figures, intervals
from benchmarks.detection.judged import judge

METHODS = (product.OURS, product.COMPATIBLE, *BASELINES)


@dataclass(frozen=True)
class Scored:
    """A method's score table of one dataset, and the CPU seconds that it took."""

    table: pd.DataFrame
    cpu: float


def load(text: str, part: str) -> Dataset:
    """Return the dataset that a word of the command line names."""
    if text in ("hourly", "daily"):
        return synthetic.generate(text, part)  # type: ignore[arg-type]
    if text.startswith("nab="):
        return nab.read(Path(text.removeprefix("nab=")))
    return dataset.read(Path(text))


def score(data: Dataset, methods: Iterable[str], pool: ProcessPoolExecutor) -> dict[str, Scored]:
    """Return each method's scores of every series."""
    batches = data.batches()
    # The longest first, so that no process is left with one at the end.
    batches.sort(key=lambda batch: -len(batch.rows))
    waiting = {name: [pool.submit(score_batch, name, batch) for batch in batches] for name in methods}
    scored = {}
    for name, parts in waiting.items():
        tables, seconds = zip(*(part.result() for part in parts), strict=True)
        scored[name] = Scored(pd.concat(tables, ignore_index=True), sum(seconds))
    return scored


def score_batch(method: str, batch: Dataset) -> tuple[pd.DataFrame, float]:
    """Return a method's score table of one batch and the CPU seconds that it took."""
    begin = time.process_time()
    table = baseline(method, batch) if method in BASELINES else product.preview(method, batch)
    return table, time.process_time() - begin


def baseline(method: str, batch: Dataset) -> pd.DataFrame:
    """Return series, timestamp and score of every row of one batch."""
    tables = []
    for name, rows in batch.rows.groupby("series"):
        values = rows["value"].to_numpy()
        scores = BASELINES[method](rows["timestamp"].to_numpy(), values, batch.labels[str(name)]["step_s"], str(name))
        tables.append(rows[["series", "timestamp"]].assign(score=scores))
    return pd.concat(tables, ignore_index=True)


def write(data: Dataset, scored: dict[str, Scored], folder: Path) -> None:
    """Write one CSV per method and the labels, as the yardstick reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    name = data.name.replace("/", "_").replace(" ", "_")
    (folder / f"{name}_labels.json").write_text(json.dumps(dict(data.labels), indent=1))
    for method, one in scored.items():
        one.table.to_csv(folder / f"{name}_{method.replace(' ', '_')}.csv", index=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="*", default=["hourly", "daily"], help="see above (hourly daily)")
    parser.add_argument("--part", choices=synthetic.SEEDS, default="dev", help="seed of the synthetic series")
    parser.add_argument("--only", choices=METHODS, action="append", help="this method; may be given several times")
    parser.add_argument("--series", type=int, help="so many series of each dataset, evenly over the families")
    parser.add_argument("--jobs", type=int, default=2, help="processes (%(default)s)")
    parser.add_argument("--scores", type=Path, metavar="DIR", help="write score tables and labels here")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables here too")
    options = parser.parse_args()
    methods = options.only or METHODS

    text = []
    with ProcessPoolExecutor(options.jobs, initializer=start_worker) as pool:
        for word in options.datasets:
            data = load(word, options.part).head(options.series)
            begin = time.perf_counter()
            scored = score(data, methods, pool)
            if options.scores:
                write(data, scored, options.scores)
            columns = {}
            for method, one in scored.items():
                judged = judge(one.table, data.labels)
                columns[method] = report.Column(figures(judged), intervals(judged), one.cpu)
            text.append(report.markdown(data, columns))
            print(text[-1], flush=True)
            print(f"({time.perf_counter() - begin:.0f} s)\n", file=sys.stderr)
    if options.markdown:
        options.markdown.write_text("\n".join(text))


def start_worker() -> None:
    """Import what previews need, in the worker; keep numerical libraries to one thread, as CPU is measured."""
    logging.disable(logging.WARNING)
    product.load()
