"""
How often late data and changes of level are found where nothing happened: events per metric and 30 days.

    python -m benchmarks.findings FOLDER/hourly FOLDER/daily [--nab NAB_FOLDER]

Reads series as ``benchmarks.detection`` does. Late events of ``freshness: auto`` are those of the whole series, from
which nothing was taken; changes of level are those of the default rule outside of the labelled spans, findings of a day
(of three buckets, for days) being one event.
"""

from __future__ import annotations

import argparse
from datetime import timedelta
from pathlib import Path

import numpy as np

from anomstack_provider.alerting.freshness import gaps
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection.change import changes
from anomstack_provider.detection.grain import infer_each
from anomstack_provider.detection.series import Series
from benchmarks.detection import nab
from benchmarks.detection.dataset import Label, read

MONTH = np.timedelta64(30, "D")
SPEC = BatchSpec(metric_batch="b", ingest_sql="select 1")


def main() -> None:
    """Print a line per data set."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[1])
    parser.add_argument("prefixes", nargs="*", type=Path)
    parser.add_argument("--nab", type=Path, default=None)
    options = parser.parse_args()
    sets = [read(prefix) for prefix in options.prefixes] + ([nab.read(options.nab)] if options.nab else [])
    for data in sets:
        late = changed = 0
        months = judged = 0.0
        for name, rows in data.rows.groupby("series", sort=False):
            series = Series(rows["timestamp"].to_numpy(), rows["value"].to_numpy())
            late += late_events(series)
            months += (series.times[-1] - series.times[0]) / MONTH
            count, quiet = change_events(series, data.labels[str(name)])
            changed, judged = changed + count, judged + quiet
        print(
            f"{data.name}: {len(data.labels)} series; late {late} in {months:.0f} metric-months: {late / months:.3f}; "
            f"change {changed} in {judged:.0f}: {changed / judged:.2f}"
        )


def late_events(series: Series) -> int:
    """Return how many silences of the series are late by ``freshness: auto``."""
    look_back = timedelta(days=SPEC.train_metric_timestamp_max_days_ago)
    grains = infer_each(series.times, "UTC")
    return len(gaps(series.times, series.times[-1], grains, "UTC", look_back=look_back))


def change_events(series: Series, label: Label) -> tuple[int, float]:
    """Return the number of changes of level outside of the labelled spans, and how many months these leave."""
    quiet = series.times >= np.datetime64(label["score_from"])
    for span in [*label["ignore"], *(event[:2] for event in label["events"])]:
        quiet &= (series.times < np.datetime64(span[0])) | (series.times > np.datetime64(span[1]))
    fired = series.times[changes(series, 0, SPEC, 1e-4).fires & quiet]
    apart = max(np.timedelta64(1, "D"), np.timedelta64(int(3 * label["step_s"]), "s"))
    events = int((np.diff(fired) > apart).sum()) + bool(len(fired))
    return events, float(quiet.sum() * label["step_s"] / (30 * 86_400))


if __name__ == "__main__":
    main()
