"""
Feedback: verdicts written as rows of the metrics table, read back, and what they say of the alerts.

What follows from a verdict is ``detection.feedback``'s. Nothing here reads the clock: who takes a verdict says when.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.alerting.transitions import stored_alerts
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection import feedback
from anomstack_provider.detection.feedback import ROW_TYPES, WORD_OF, Verdict, Verdicts
from anomstack_provider.detection.series import Times, split
from anomstack_provider.runtime.ticks import tick_at_or_after
from anomstack_provider.steps.ports import COLUMNS, MetricRows
from anomstack_provider.steps.training import freq_lengths, prepare, split_verdicts, stamp

PRECISION_DAYS = 90

_ALERT_TYPES = ("alert", "tholdalert", "change", "llmalert")
_MOST_NOTE = 2000
_INSTANT = timedelta(microseconds=1)
# Where a bucket may lie: within this, times can be added to and every engine can hold them.
_BEGIN, _END = datetime(1000, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)


class FeedbackRefused(ValueError):
    """A verdict that cannot be taken; the message says what there is instead."""


class NothingThere(FeedbackRefused):
    """There is no such metric, bucket or event."""


def give(
    spec: BatchSpec,
    store: MetricRows,
    metric_name: str,
    bucket: datetime,
    word: str,
    *,
    given_at: datetime,
    by: str | None = None,
    note: str = "",
    until: datetime | None = None,
    event_id: str | None = None,
) -> Verdicts:
    """
    Store what someone said of a bucket, or of every bucket of its event, in the place of what was said before.

    :param bucket: start of an existing bucket, aware.
    :param given_at: now, aware.
    :param until: end of a snooze, which needs one.
    :param event_id: the event that holds the bucket, as alerts name it.
    :return: a verdict per bucket.
    :raises FeedbackRefused: naming what is wrong; :class:`NothingThere` if there is no such metric, bucket or event.
    """
    _check(word, given_at, note, until)
    _check_key(metric_name, bucket)
    first = last = bucket
    if event_id is not None:
        first, last = _event_span(store, metric_name, bucket, event_id)
    around, before = _read(spec, store, metric_name, first, last)
    if stamp(bucket) not in around:
        raise NothingThere(_no_bucket(spec, store, metric_name, bucket))
    start = first if event_id is not None else None
    given = tuple(
        Verdict(word, _aware(time), given_at, until, by, note, event_id, start)
        for time in around[(around >= stamp(first)) & (around <= stamp(last))]
    )
    _write(store, metric_name, given, before)
    return given


def read(store: MetricRows, until: datetime = _END, metrics: Collection[str] | None = None) -> dict[str, Verdicts]:
    """Return every verdict on buckets before ``until`` by metric, those that were replaced too. One query."""
    names = None if metrics is None else sorted(metrics)
    return split_verdicts(store.read(list(WORD_OF), since=None, until=until, metrics=names))


def decided_at(spec: BatchSpec, ends: Times) -> Times:
    """
    Return when each bucket is decided: the end of the scheduled run in whose window it closes.

    By the schedule alone, so that whichever run looks at the bucket takes the same verdicts into account.

    :param ends: first moments after the buckets, ``datetime64[us]`` in UTC, shape (n,).
    """
    closed, back = np.unique(ends, return_inverse=True)
    ticks = [stamp(tick_at_or_after(spec.cron, spec.timezone, _aware(end) + spec.completeness_delay)) for end in closed]
    return np.array(ticks, "datetime64[us]")[back]


def standing(verdicts: Mapping[str, Verdicts]) -> list[tuple[str, Verdict]]:
    """Return what holds now, a verdict on an event once, oldest bucket first: metric names and verdicts."""
    found: dict[tuple[str, str], Verdict] = {}
    for name, given in verdicts.items():
        for verdict in sorted(given, key=lambda v: v.bucket):
            if verdict.replaced_at is None:
                found.setdefault((name, verdict.subject), verdict)
    return sorted(((name, v) for (name, _), v in found.items()), key=lambda pair: (pair[1].bucket, pair[0]))


@dataclass(frozen=True)
class Precision:
    """How many of a metric's alerts that someone judged were real."""

    real: int
    false_alarms: int

    @property
    def share(self) -> float:
        """Share of real ones, in [0, 1]."""
        return self.real / (self.real + self.false_alarms)


def precision(verdicts: Mapping[str, Verdicts], now: datetime, days: float = PRECISION_DAYS) -> dict[str, Precision]:
    """Return per metric what was real and what not, of the verdicts that were given in the last ``days``."""
    counts: dict[str, dict[str, int]] = {}
    since = now - timedelta(days=days)
    for name, verdict in standing(verdicts):
        if verdict.word in ("real", "false_alarm") and since < (verdict.given_at or verdict.bucket) <= now:
            mine = counts.setdefault(name, {"real": 0, "false_alarm": 0})
            mine[verdict.word] += 1
    return {name: Precision(mine["real"], mine["false_alarm"]) for name, mine in sorted(counts.items())}


def to_json(verdicts: Mapping[str, Verdicts], now: datetime) -> dict[str, Any]:
    """Return JSON values: what holds now, and the precision of each metric."""
    return {
        "feedback": [
            {"metric_name": name, "bucket": verdict.bucket.isoformat(), **verdict.to_dict()}
            for name, verdict in standing(verdicts)
        ],
        "precision": {
            name: {"real": found.real, "false_alarms": found.false_alarms, "share": found.share}
            for name, found in precision(verdicts, now).items()
        },
    }


# --- one verdict -----------------------------------------------------------------------------------------------------


def _check(word: str, given_at: datetime, note: str, until: datetime | None) -> None:
    if word not in ROW_TYPES:
        raise FeedbackRefused(f"{word!r} is no verdict; there are {', '.join(ROW_TYPES)}")
    if len(note) > _MOST_NOTE:
        raise FeedbackRefused(f"the note has {len(note)} characters; {_MOST_NOTE} are kept at most")
    if word == "snooze" and until is None:
        raise FeedbackRefused("a snooze needs an end")
    if word != "snooze" and until is not None:
        raise FeedbackRefused(f"only a snooze has an end, {word} has none")
    if until is not None and until <= given_at:
        raise FeedbackRefused(f"the snooze would end at {until.isoformat()}, which is over")


def _check_key(name: str, bucket: datetime) -> None:
    """Refuse what no database can hold before one is asked for it."""
    if "\0" in name or any(0xD800 <= ord(letter) < 0xE000 for letter in name):
        raise NothingThere(f"there is no metric {name!r}")
    if not _BEGIN <= bucket < _END:
        raise NothingThere(f"metric {name!r} has no bucket {bucket.isoformat()}")


def _read(
    spec: BatchSpec, store: MetricRows, name: str, first: datetime, last: datetime
) -> tuple[Times, dict[datetime, Verdicts]]:
    """Return a metric's buckets from ``first`` to ``last`` and what was said of each."""
    reach = 2 * freq_lengths(spec)[1]
    since = first - reach
    frame = store.read(["metric", *WORD_OF], since=since, until=last + reach + _INSTANT, metrics=[name])
    series = prepare(spec, split(frame[frame["metric_type"] == "metric"]), since).get(name)
    said: dict[datetime, list[Verdict]] = {}
    for verdict in split_verdicts(frame).get(name, ()):
        said.setdefault(verdict.bucket, []).append(verdict)
    times = np.empty(0, "datetime64[us]") if series is None else series.times
    return times, {bucket: tuple(reversed(verdicts)) for bucket, verdicts in said.items()}


def _event_span(store: MetricRows, name: str, bucket: datetime, event_id: str) -> tuple[datetime, datetime]:
    """Return the first and the last bucket of an event that its stored alerts tell of so far."""
    frame = store.read(list(_ALERT_TYPES), since=None, until=_END, metrics=[name])
    alerts = [alert for text in frame["metadata"] for alert in _alerts(text) if alert.event_id == event_id]
    if not alerts:
        raise NothingThere(f"metric {name!r} has no event {event_id!r}")
    ends = [t for a in alerts for t in (a.first_bucket, a.last_bucket, _fired(a)) if t is not None]
    first, last = min(ends), max(ends)
    if not first <= bucket <= last:
        raise NothingThere(
            f"bucket {bucket.isoformat()} is not in event {event_id!r}, "
            f"which goes from {first.isoformat()} to {last.isoformat()}"
        )
    return first, last


def _fired(alert: Alert) -> datetime | None:
    """Return the bucket of a transition if it is one of the event's own: a closed one's is the first quiet one."""
    return alert.bucket if alert.transition in ("opened", "escalated") else None


def _alerts(text: object) -> list[Alert]:
    """Return the alerts that a row keeps in its metadata, none of another tool's row."""
    try:
        return stored_alerts(text) if isinstance(text, str) else []
    except ValueError:
        return []


def _no_bucket(spec: BatchSpec, store: MetricRows, name: str, bucket: datetime) -> str:
    """Say which metrics or buckets there are instead."""
    month = timedelta(days=32) + 2 * freq_lengths(spec)[1]
    frame = store.read(["metric"], since=None, until=bucket + month, newest=3, cut=bucket, metrics=[name])
    series = prepare(spec, split(frame), None).get(name)
    if series is None:
        newest = store.read(["metric"], since=None, until=_END, newest=1)
        known = newest["metric_name"].unique().tolist()
        if name in known:
            return f"metric {name!r} has no bucket {_text(bucket, spec)}, nor any in the month after it"
        near = get_close_matches(name, known, n=3, cutoff=0.3) or known[:3]
        return f"batch {spec.metric_batch!r} has no metric {name!r}; near it: {', '.join(map(repr, near)) or 'none'}"
    place = int(np.searchsorted(series.times, stamp(bucket)))
    nearest = [_text(_aware(time), spec) for time in series.times[max(place - 2, 0) : place + 2]]
    return f"metric {name!r} has no bucket {_text(bucket, spec)}; the nearest ones are {', '.join(nearest)}"


def _write(store: MetricRows, name: str, given: Verdicts, before: Mapping[datetime, Collection[Verdict]]) -> None:
    """Put the verdicts in the place of all others on the same buckets, in one transaction."""
    times = np.array([stamp(verdict.bucket) for verdict in given], "datetime64[us]")
    rows: dict[str, Any] = {
        "metric_name": name,
        "metric_type": ROW_TYPES[given[0].word],
        "metric_timestamp": times,
        "metric_value": 1.0,
        "metadata": [feedback.to_metadata(verdict, before.get(verdict.bucket, ())) for verdict in given],
    }
    clear = pd.DataFrame(
        {
            "metric_name": name,
            "metric_type": np.repeat(np.array(list(WORD_OF), object), len(times)),
            "metric_timestamp": np.tile(times, len(WORD_OF)),
        }
    )
    store.replace(pd.DataFrame(rows)[COLUMNS], clear=clear)


def _aware(time: np.datetime64) -> datetime:
    moment: datetime = time.astype("datetime64[us]").item()
    return moment.replace(tzinfo=UTC)


def _text(moment: datetime, spec: BatchSpec) -> str:
    return moment.astimezone(ZoneInfo(spec.timezone)).isoformat()
