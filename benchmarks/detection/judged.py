"""One series with its scores and labels as arrays, and what a set of alerts in it is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.detection.dataset import Label

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

_DAY, _MONTH = 86_400.0, 30 * 86_400.0


@dataclass(frozen=True)
class Judged:
    """
    Scores beside labels; all arrays in order of time, one element per row.

    :param score: any scale, NaN where there is none.
    :param alerted: what the product itself would have sent; None for a table without that column.
    :param start: the first row that is judged.
    :param begins: first rows of the events, and ``ends`` their last ones.
    :param excused: rows in which an alert is neither right nor wrong, or is right: events and ignored spans.
    """

    name: str
    family: str
    step: float
    score: Floats
    alerted: NDArray[np.bool_] | None
    start: int
    begins: Indices
    ends: Indices
    kinds: tuple[str, ...]
    excused: NDArray[np.bool_]

    @property
    def months(self) -> float:
        """How long it is judged, in spans of 30 days."""
        return max(0, len(self.score) - self.start) * self.step / _MONTH

    @property
    def in_event(self) -> NDArray[np.bool_]:
        """Which rows lie in an event."""
        inside = np.zeros(len(self.score), bool)
        for begin, end in zip(self.begins, self.ends, strict=True):
            inside[begin : end + 1] = True
        return inside

    def alerts(self, threshold: float) -> Indices:
        """Return the judged rows at or above a threshold, each followed by a day of silence."""
        hot = np.flatnonzero(self.score >= threshold)  # never true for NaN
        hot = hot[np.searchsorted(hot, self.start) :]
        quiet = max(1, round(_DAY / self.step))
        sent = []
        position = 0
        while position < len(hot):
            sent.append(hot[position])
            position = int(np.searchsorted(hot, hot[position] + quiet, side="right"))
        return np.array(sent, np.intp)

    def own_alerts(self) -> Indices:
        """Return the judged rows that the product alerted on."""
        assert self.alerted is not None
        hot = np.flatnonzero(self.alerted)
        return hot[hot >= self.start]

    def delays(self, alerts: Indices) -> Floats:
        """Return per event the buckets from its begin to the first alert in it; NaN where there was none."""
        if not len(alerts):
            return np.full(len(self.begins), np.nan)
        first = np.searchsorted(alerts, self.begins)
        found = alerts[np.minimum(first, len(alerts) - 1)]
        hit = (first < len(alerts)) & (found <= self.ends)
        return np.where(hit, found - self.begins, np.nan)

    def false_alarms(self, alerts: Indices) -> int:
        """Return how many alerts are wrong."""
        return int(np.count_nonzero(~self.excused[alerts]))


def judge(table: pd.DataFrame, labels: Mapping[str, Label]) -> list[Judged]:
    """
    Return every labelled series of a score table: columns series, timestamp (UTC), score and perhaps alerted.

    :raises ValueError: a labelled series has no scores, as each one counts.
    """
    groups = dict(tuple(table.groupby("series")))
    if missing := sorted(set(labels) - set(groups)):
        raise ValueError(
            f"no scores for {len(missing)} labelled series, for example {missing[:3]}: every series counts"
        )
    return [_judged(name, groups[name], labels[name]) for name in sorted(labels)]


def _judged(name: str, rows: pd.DataFrame, label: Label) -> Judged:
    times = _utc(rows["timestamp"])
    order = np.argsort(times, kind="stable")
    times = times[order]

    def span(begin: Any, end: Any) -> tuple[int, int]:
        first, last = _utc([begin, end])
        return int(np.searchsorted(times, first)), int(np.searchsorted(times, last, side="right")) - 1

    start = int(np.searchsorted(times, _utc([label["score_from"]])[0]))
    events = [(*span(*event[:2]), str(event[2]) if len(event) > 2 else "event") for event in label["events"]]
    # Those that end before anything is judged, or lie in a gap, cannot be found.
    events = [(begin, end, kind) for begin, end, kind in events if end >= max(start, begin)]
    excused = np.zeros(len(times), bool)
    for begin, end in [event[:2] for event in events] + [span(*ignored[:2]) for ignored in label.get("ignore", [])]:
        excused[begin : end + 1] = True
    return Judged(
        name=name,
        family=label.get("family", ""),
        step=float(label["step_s"]),
        score=rows["score"].to_numpy(np.float64)[order],
        alerted=rows["alerted"].to_numpy(np.float64)[order] > 0 if "alerted" in rows else None,
        start=start,
        begins=np.array([begin for begin, _, _ in events], np.intp),
        ends=np.array([end for _, end, _ in events], np.intp),
        kinds=tuple(kind for *_, kind in events),
        excused=excused,
    )


def _utc(times: Any) -> NDArray[np.datetime64]:
    """Return naive UTC microseconds of text or timestamps; what names no zone is UTC."""
    index = pd.DatetimeIndex(pd.to_datetime(times, utc=True, format="mixed"))
    return index.tz_localize(None).to_numpy().astype("datetime64[us]")
