"""The figures of all methods on one dataset as one table of Markdown, which reads well as plain text too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.detection.dataset import Dataset
from benchmarks.detection.figures import BUDGETS, Figures

_NOTE = """
In brackets: 90 % of bootstrap samples of the series. A delay is the median over found events, in buckets. Realised is
what the method itself would have sent, at its own settings.
"""


@dataclass(frozen=True)
class Column:
    """One method's figures, intervals and CPU seconds."""

    figures: Figures
    intervals: Mapping[str, tuple[float, float]]
    cpu: float


def markdown(data: Dataset, columns: Mapping[str, Column]) -> str:
    """Return the table under a heading that says what was measured."""
    events = next(iter(columns.values())).figures.budgets[BUDGETS[0]].events
    cells = [_cells(column) for column in columns.values()]
    titles = list(dict.fromkeys(title for column in cells for title in column))
    table = [["", *columns], *([title, *(column.get(title, "-") for column in cells)] for title in titles)]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in table
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    heading = f"### {data.name}: {len(data.labels)} series, {events} events; budgets per series and 30 days\n"
    return "\n".join([heading, *lines, _NOTE])


def _cells(column: Column) -> dict[str, str]:
    """Return the cells of one column by the title of their row."""
    found, cells = column.figures, {}

    def interval(key: str, digits: int = 2) -> str:
        if key not in column.intervals:
            return ""
        low, high = column.intervals[key]
        return f" [{low:.{digits}f}, {high:.{digits}f}]"

    for budget, summary in found.budgets.items():
        cells[f"recall at {budget:g}"] = _number(summary.recall) + interval(f"recall {budget:g}")
        cells[f"precision at {budget:g}"] = _number(summary.precision)
        cells[f"delay at {budget:g}"] = _number(summary.delay, 1)
    by_kind = found.budgets[BUDGETS[0]].recall_by_kind
    if len(by_kind) > 1:
        cells |= {f"recall at {BUDGETS[0]:g}, {kind}": _number(recall) for kind, recall in by_kind.items()}
    cells["AUC-PR"] = _number(found.auc_pr) + interval("auc_pr")
    cells["VUS-PR"] = _number(found.vus_pr) + interval("vus_pr")
    for (profile, kind), value in found.nab.items():
        key = f"nab {kind}" if profile == "standard" else ""
        cells[f"NAB {profile.replace('_', ' ')}, {kind}"] = _number(value, 1) + interval(key, 1)
    cells["CPU s"] = _number(column.cpu, 1)
    if found.realised is not None:
        cells["realised false alarms"] = _number(found.realised.false_per_month) + interval("realised")
        cells |= {f"realised, {family}": _number(rate) for family, rate in found.false_by_family.items()}
        cells["realised recall"] = _number(found.realised.recall)
        cells["realised precision"] = _number(found.realised.precision)
        cells["realised delay"] = _number(found.realised.delay, 1)
    return cells


def _number(value: float, digits: int = 2) -> str:
    return "-" if np.isnan(value) else f"{value:.{digits}f}"
