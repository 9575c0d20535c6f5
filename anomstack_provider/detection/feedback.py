"""
What people said of buckets, and what follows: which points train a model, and which findings are not announced.

Pure functions of the verdicts and of the moment asked about. A verdict counts from the moment it was given until
another one took its place, so a replay of the past decides as the past did. Reading and writing them is
``steps.feedback``'s.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.detection.series import Times

# What a verdict is called, and the metric_type of its rows: for the first two Anomstack's.
ROW_TYPES: Mapping[str, str] = {
    "real": "thumbsup",
    "false_alarm": "thumbsdown",
    "expected": "expected",
    "new_normal": "new_normal",
    "snooze": "snooze",
}
WORD_OF = {row_type: word for word, row_type in ROW_TYPES.items()}

_KEPT_OUT = {"real", "expected"}
_STOPS_EVENT = {"false_alarm", "expected", "new_normal"}


@dataclass(frozen=True)
class Verdict:
    """
    What was said of one bucket of one metric. Times are aware.

    :param word: a key of :data:`ROW_TYPES`.
    :param bucket: start of the bucket.
    :param given_at: when it was given; None if nobody noted it (rows of Anomstack), then it always counts.
    :param until: end of a snooze.
    :param by: who gave it, None if not known.
    :param event_id: the event on all of whose buckets it was given; None for one on this bucket alone.
    :param first_bucket: start of that event's first bucket; None: ``bucket``.
    :param replaced_at: when another verdict on the same bucket took its place; None while it stands.
    """

    word: str
    bucket: datetime
    given_at: datetime | None = None
    until: datetime | None = None
    by: str | None = None
    note: str = ""
    event_id: str | None = None
    first_bucket: datetime | None = None
    replaced_at: datetime | None = None

    def counts(self, moment: datetime) -> bool:
        """Whether it holds at an aware time."""
        given = self.given_at is None or self.given_at <= moment
        return given and (self.replaced_at is None or moment < self.replaced_at)

    @property
    def subject(self) -> str:
        """What it is about, the same for all rows of one event."""
        return self.event_id or self.bucket.isoformat()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; times as ISO 8601."""
        found = {key: None if (at := getattr(self, key)) is None else at.isoformat() for key in _TIMES}
        return {"verdict": self.word, **found, "by": self.by, "note": self.note, "event_id": self.event_id}


Verdicts: TypeAlias = tuple[Verdict, ...]
"""Verdicts on one metric, in the order they were given, those of an unknown time first."""

_TIMES = ("given_at", "until", "first_bucket")


def to_metadata(verdict: Verdict, replaced: Iterable[Verdict] = ()) -> str:
    """Return the metadata of a verdict's row, which remember the verdicts whose place it took."""
    return json.dumps({**verdict.to_dict(), "replaced": [old.to_dict() for old in replaced]}, sort_keys=True)


def of_row(metric_type: str, bucket: np.datetime64, metadata: object) -> Iterator[Verdict]:
    """Yield the verdict of a stored row and those whose place it took; metadata of any form will do."""
    start = bucket.astype("datetime64[us]").item().replace(tzinfo=UTC)
    facts = _facts(metadata)
    newest = _verdict(WORD_OF[metric_type], start, facts, None)
    yield newest
    after = newest.given_at
    earlier = facts.get("replaced")
    for old in earlier if isinstance(earlier, list) else ():
        # Newest first, so each one's end is the beginning of the one before it in the list.
        if isinstance(old, dict) and old.get("verdict") in ROW_TYPES and after is not None:
            replaced = _verdict(old["verdict"], start, old, after)
            yield replaced
            after = replaced.given_at


def in_order(verdicts: Iterable[Verdict]) -> Verdicts:
    """Return them in the order they were given; of Anomstack's two on one bucket, thumbs up last."""
    beginning = datetime.min.replace(tzinfo=UTC)
    return tuple(sorted(verdicts, key=lambda v: (v.given_at or beginning, v.bucket, v.word)))


def restart(verdicts: Verdicts, moment: datetime) -> datetime | None:
    """Return from which bucket on a model as of ``moment`` is trained, None for from the beginning."""
    starts = [v.first_bucket or v.bucket for v in verdicts if v.word == "new_normal" and v.counts(moment)]
    return max((start for start in starts if start < moment), default=None)


def trains(verdicts: Verdicts, times: Times, moment: datetime) -> NDArray[np.bool_]:
    """
    Return which buckets may train a model as of ``moment``, shape (n,).

    Not those that were a real or an expected anomaly, by the newest word on each, and none before a new normal.
    """
    kept_out: dict[datetime, bool] = {}
    for verdict in verdicts:
        if verdict.word != "snooze" and verdict.counts(moment):
            kept_out[verdict.bucket] = verdict.word in _KEPT_OUT
    train = ~np.isin(times, _stamps([bucket for bucket, out in kept_out.items() if out]))
    if (start := restart(verdicts, moment)) is not None:
        train &= times >= _stamp(start)
    return train


def stopped(
    verdicts: Verdicts, times: Times, as_of: Times, events: NDArray[np.intp]
) -> tuple[NDArray[np.bool_], NDArray[np.object_]]:
    """
    Return which findings of a metric are not announced, and why ("" for the others), both of shape (n,).

    A snooze stops all that is decided while it lasts. A false alarm, an expected anomaly or a new normal stops what
    comes after its bucket in the same event, and the bucket itself if it was decided after the verdict was given. A
    finding that was decided earlier stays as it was, so replayed history keeps the alerts that were sent.

    :param times: starts of the buckets of the findings (or transitions), ``datetime64[us]`` in UTC, increasing.
    :param as_of: for each the moment at which it is decided: the end of the run in whose window its bucket closes.
    :param events: for each the event it belongs to, any number, as if nothing had been stopped.
    """
    mask, reasons = snoozed(verdicts, as_of)
    for verdict in verdicts:
        if verdict.word in _STOPS_EVENT:
            hit = _held(verdict, as_of) & _after(verdict, times, events)
            mask |= hit
            reasons[hit] = _reason(verdict)
    return mask, reasons


def snoozed(verdicts: Verdicts, as_of: Times) -> tuple[NDArray[np.bool_], NDArray[np.object_]]:
    """Return what of a metric is not announced while a snooze lasts, and why, as :func:`stopped` does."""
    mask = np.zeros(len(as_of), bool)
    reasons = np.full(len(as_of), "", object)
    for verdict in verdicts:
        if verdict.word == "snooze" and verdict.until is not None:
            hit = _held(verdict, as_of) & (as_of < _stamp(verdict.until))
            mask |= hit
            reasons[hit] = _reason(verdict)
    return mask, reasons


def chains(positions: NDArray[np.intp], over: NDArray[np.intp]) -> NDArray[np.intp]:
    """
    Return to which event each finding of one direction belongs, numbered from 0, shape (k,).

    :param positions: of the findings among the buckets, oldest first, shape (k,).
    :param over: for each bucket the position at which an event is over whose newest finding is there, shape (n,).
    """
    begins = positions[1:] >= over[positions[:-1]]
    return np.concatenate([np.zeros(min(len(positions), 1), np.intp), np.cumsum(begins, dtype=np.intp)])


def silenced(verdicts: Verdicts, first: datetime, bucket: datetime, as_of: datetime) -> str:
    """
    Return why a transition of an event is not announced, "" if it is.

    :param first: start of the event's first bucket, aware as the others.
    :param bucket: start of the bucket of the transition; of one that closes the event a quiet one.
    :param as_of: the moment at which it is decided.
    """
    for verdict in reversed(verdicts):
        if not verdict.counts(as_of):
            continue
        # Without a time it was given by someone who saw the bucket's alert, which stays.
        on_event = first <= verdict.bucket <= bucket and (verdict.given_at is not None or verdict.bucket < bucket)
        is_snoozed = verdict.word == "snooze" and verdict.until is not None and as_of < verdict.until
        if is_snoozed or (on_event and verdict.word in _STOPS_EVENT):
            return _reason(verdict)
    return ""


def _held(verdict: Verdict, as_of: Times) -> NDArray[np.bool_]:
    """Return at which moments a verdict counts."""
    held = np.ones(len(as_of), bool) if verdict.given_at is None else as_of >= _stamp(verdict.given_at)
    return held if verdict.replaced_at is None else held & (as_of < _stamp(verdict.replaced_at))


def _after(verdict: Verdict, times: Times, events: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return which findings are the verdict's bucket or come after it in the same event."""
    bucket = _stamp(verdict.bucket)
    # Without a time it was given by someone who saw the bucket's alert, which stays.
    own: NDArray[np.bool_] = (times == bucket) & (verdict.given_at is not None)
    # A bucket that did not fire itself belongs to the event that goes on around it.
    begun, goes_on = events[times <= bucket], events[times >= bucket]
    if not len(begun) or not np.isin(begun[-1], goes_on):
        return own
    return np.asarray(own | ((events == begun[-1]) & (times > bucket)))


def _reason(verdict: Verdict) -> str:
    by = f" by {verdict.by}" if verdict.by else ""
    when = "" if verdict.given_at is None else f" of {verdict.given_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    until = "" if verdict.until is None else f" until {verdict.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return f"feedback{when}{by}: {verdict.word.replace('_', ' ')}{until}"


def _verdict(word: str, bucket: datetime, facts: Mapping[str, Any], replaced_at: datetime | None) -> Verdict:
    given_at, until, first_bucket = (_moment(facts.get(key)) for key in _TIMES)
    by, note, event_id = (_text(facts.get(key)) for key in ("by", "note", "event_id"))
    return Verdict(word, bucket, given_at, until, by, note or "", event_id, first_bucket, replaced_at)


def _facts(metadata: object) -> dict[str, Any]:
    """Return the JSON object in a row's metadata, empty for those of another form."""
    try:
        found = json.loads(metadata) if isinstance(metadata, str) else None
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _moment(text: object) -> datetime | None:
    """Return a stored time, None for anything but an aware one."""
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None


def _text(value: object) -> str | None:
    """Return a stored text, with half a surrogate, which JSON may hold and nothing else, replaced."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else None


def _stamp(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")


def _stamps(moments: list[datetime]) -> Times:
    return np.array([_stamp(moment) for moment in moments], "datetime64[us]")
