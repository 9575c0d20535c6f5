"""
Which missing buckets of a metric are late: longer without data than it ever is by itself.

Pure functions of stored times. A missing bucket is judged as of its own end, by the buckets stored before it, so
that history that is judged later, or in another order, gives what each run would have said at the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.detection.grain import INSTANT, Grain, to_local, to_utc
from anomstack_provider.detection.series import Floats, Times

# Silences of a metric's own history that tell what is usual, and how few of them tell nothing.
HISTORY, LEAST = 2000, 30
# A silence of so many buckets is late at the soonest, and one so many times the third-longest.
_BUCKETS, _TIMES = 3, 1.5
# Where silences have a tail (readings at random, buckets that are skipped when nothing happened), so many of its
# lengths more, and as many as make up for a short history; the tail is read off between these ranks.
_TAILS, _RANK, _TAIL_RANK = 4.0, 3, 20
# Nights and weekends are known after so long; before, silence of so long is late at the soonest, but for a metric that
# was never silent for a day, or hardly ever in three days.
_KNOWN, _UNKNOWN = np.timedelta64(28, "D"), np.timedelta64(4, "D")
_NEVER_SILENT, _HARDLY_SILENT = np.timedelta64(1, "D"), np.timedelta64(3, "D")
# Steps before a reading whose median is the usual one.
_RECENT = 21
# After so long and so many buckets of silence a metric is retired and no longer late.
_RETIRED, _RETIRED_BUCKETS = timedelta(days=30), 100


_NEVER = np.datetime64("9999-01-01", "us")
BEGINNING = np.datetime64("0001-01-01", "us")
_MINUTE = np.timedelta64(1, "m")


@dataclass(frozen=True)
class Gap:
    """
    A silence of one metric, at least one bucket of which is late.

    :param last: start of the newest bucket before it, UTC; of all times here the type is ``datetime64[us]``.
    :param missing: start of the first missing bucket.
    :param late: starts of the missing buckets that are late, oldest first, shape (k,).
    :param ends: where these end, shape (k,).
    :param back: start of the first bucket after the silence, NaT while it lasts.
    :param over: from then on it is not late: the first bucket after it ended, or the metric is retired.
    :param grain: length of a bucket, such as ``1h``.
    :param allowed: so many missing buckets are still usual.
    """

    last: np.datetime64
    missing: np.datetime64
    late: Times
    ends: Times
    back: np.datetime64
    over: np.datetime64
    grain: str
    allowed: int

    @property
    def lasts(self) -> bool:
        """Whether no bucket is stored after it."""
        return bool(np.isnat(self.back))

    @property
    def newest(self) -> np.datetime64:
        """Start of the newest bucket that it decides about: the last late one, or the first after it."""
        return self.late[-1] if self.lasts else self.back

    @property
    def ended(self) -> np.datetime64:
        """The last moment at which it is asked whether the batch is late."""
        return self.ends[-1] if self.lasts else max(self.over, self.back)


def gaps(
    times: Times,
    until: np.datetime64,
    grains: Sequence[Grain],
    timezone: str,
    after: timedelta | None = None,
    look_back: timedelta | None = None,
) -> list[Gap]:
    """
    Return the silences of one metric that have late buckets, oldest first.

    :param times: starts of stored buckets, increasing; with what decides about the first silence asked for before it.
    :param until: the end of the run; a bucket that ends later is not missing yet.
    :param grains: of the newest buckets, as many as silences after them are asked for; each as the buckets up to it
        keep it.
    :param after: a silence of this length is late; None: one that is unusual for the metric.
    :param look_back: what is older than this, as of the silence, no longer tells what is usual.
    """
    return list(_gaps(times, until, grains, timezone, after, look_back))


def _gaps(
    times: Times,
    until: np.datetime64,
    grains: Sequence[Grain],
    timezone: str,
    after: timedelta | None,
    look_back: timedelta | None,
) -> Iterator[Gap]:
    first = len(times) - len(grains)
    steps = _steps(times, grains)
    for k in _silent(times, until, steps, _BUCKETS if after is None else 1).tolist():
        i, grain, step = first + k, grains[k], np.timedelta64(int(steps[k]), "us")
        oldest = 0 if look_back is None else int(np.searchsorted(times, times[i] - np.timedelta64(look_back)))
        known = times[max(oldest, i - HISTORY) : i + 1]
        allowed = _allowed(known, grain, step, timezone) if after is None else _buckets(after, step) - 1
        if allowed is None:
            continue
        most = allowed + max(_RETIRED_BUCKETS, _buckets(_RETIRED, step))
        is_last = i + 1 == len(times)
        count = min(int(((until if is_last else times[i + 1]) - times[i]) / step) + 2, most)
        starts = _starts(times[i], np.arange(1, count + 2), grain, step, timezone)
        starts, ends = starts[:-1], starts[1:]
        # A bucket that came a little before its time is none that is missing.
        missing = ends <= until if is_last else (ends <= until) & (ends - (ends - starts) // 4 <= times[i + 1])
        number = int(missing.sum())
        if number <= allowed:
            continue
        late = slice(allowed, number)
        back = np.datetime64("NaT", "us") if is_last else times[i + 1]
        over = _NEVER if is_last else _starts(back, np.array([1]), grain, step, timezone)[0]
        over = ends[-1] if number == most else over
        yield Gap(times[i], starts[0], starts[late], ends[late], back, over, str(grain), allowed)


def may_be_late(times: Times, until: np.datetime64, grains: Sequence[Grain]) -> bool:
    """Whether any of these silences is so long that its metric's history has to be asked; see :func:`gaps`."""
    return bool(len(_silent(times, until, _steps(times, grains), _BUCKETS)))


def _silent(times: Times, until: np.datetime64, steps: Floats, buckets: int) -> NDArray[np.intp]:
    """Return after which of the newest buckets, to which the steps belong, so many may be missing."""
    length = np.diff(np.append(times, until))[len(times) - len(steps) :].astype(np.int64)
    return np.flatnonzero(length >= (buckets + 0.25) * steps)


def explained(found: Sequence[Gap], starts: Times, ends: Times) -> NDArray[np.bool_]:
    """
    Return which buckets of the metric late data explain: those that a silence cuts short, and the first one after it.

    Not those that ended before anyone could know that data are late.
    """
    mask = np.zeros(len(starts), bool)
    for gap in found:
        back = _NEVER if gap.lasts else gap.back
        mask |= (starts <= back) & (ends > gap.missing) & (ends >= gap.ends[0])
    return mask


@dataclass(frozen=True)
class LateBatch:
    """
    When a whole batch is late, asked at the end of buckets, oldest first.

    :param times: starts of the buckets at whose end it was asked, increasing, shape (n,); ``ends`` where they end.
    :param grain: their length, such as ``1h``; shape (n,).
    :param is_late: whether the batch is late by then.
    :param metrics: the names of the metrics that are late by then, sorted; n tuples.
    """

    times: Times
    ends: Times
    grain: NDArray[np.object_]
    is_late: NDArray[np.bool_]
    metrics: tuple[tuple[str, ...], ...]

    def tells(self, gap: Gap) -> NDArray[np.bool_]:
        """Return which late buckets of a metric's silence are told by the batch's own event."""
        return np.isin(gap.ends, self.ends[self.is_late])


def of_batch(
    found: Mapping[str, Sequence[Gap]],
    stored: Mapping[str, Times],
    least: int = LEAST,
    look_back: timedelta | None = None,
    since: np.datetime64 = BEGINNING,
) -> LateBatch:
    """
    Return when the batch is late: at least two metrics and half of those that live are, or the only one.

    Judged at the end of each late bucket and of the first one after a silence, by what is known then. A metric lives
    that has points enough to be judged, and has not been silent for so long that it is retired.

    :param found: the silences of each metric that has any, all that were not over by ``since``.
    :param stored: the starts of the buckets of every metric of the batch, ``least`` of them before ``since``.
    :param least: points with which a metric is judged.
    :param since: what came before is not asked for.
    """
    moments, starts, grains, is_late = _moments([gap for own in found.values() for gap in own], since)
    late = {name: _late_at(own, moments) for name, own in found.items() if own}
    live = np.zeros(len(moments), np.int64)
    for name, times in stored.items():
        enough = _count(times, moments, look_back) >= least
        live += late.get(name, False) | (enough & ~_retired_at(found.get(name, ()), moments))
    names = sorted(late)
    missing = np.array([late[name] for name in names], bool).reshape(len(names), len(moments))
    number = missing.sum(axis=0)
    whole = ((number >= 2) & (2 * number >= live)) | ((number == 1) & (live == 1))
    judged = np.flatnonzero(is_late | ~whole)
    starts, grains = _apart(starts[judged], moments[judged], grains[judged])
    # What lies before may have cut the first of them short.
    known = slice(1 if len(judged) and starts[0] < since else 0, None)
    judged = judged[known]
    return LateBatch(
        starts[known],
        moments[judged],
        grains[known],
        whole[judged],
        tuple(tuple(names[i] for i in np.flatnonzero(missing[:, k])) for k in judged),
    )


def _moments(found: Sequence[Gap], since: np.datetime64) -> tuple[Times, Times, NDArray[np.object_], NDArray[np.bool_]]:
    """
    Return when to ask whether the batch is late, increasing, the start and grain of the bucket that ends then, and
    whether it is a late one: of several the late ones, of these the shortest.
    """
    buckets: dict[datetime, tuple[bool, datetime, str]] = {}
    for gap in found:
        own = [(end, (True, start, gap.grain)) for end, start in zip(gap.ends.tolist(), gap.late.tolist(), strict=True)]
        if not gap.lasts:
            own.append((gap.ended.item(), (False, gap.back.item(), gap.grain)))
        for end, bucket in own:
            buckets[end] = max(bucket, buckets.get(end, bucket))
    moments = sorted(moment for moment in buckets if np.datetime64(moment) >= since)
    chosen = [buckets[moment] for moment in moments]
    return (
        np.array(moments, "datetime64[us]"),
        np.array([start for _, start, _ in chosen], "datetime64[us]"),
        np.array([grain for _, _, grain in chosen], object),
        np.array([late for late, _, _ in chosen], bool),
    )


def _late_at(found: Sequence[Gap], moments: Times) -> NDArray[np.bool_]:
    mask = np.zeros(len(moments), bool)
    for gap in found:
        mask |= (moments >= gap.ends[0]) & (moments < gap.over)
    return mask


def _retired_at(found: Sequence[Gap], moments: Times) -> NDArray[np.bool_]:
    mask = np.zeros(len(moments), bool)
    for gap in found:
        mask |= (moments >= gap.over) & (moments <= (_NEVER if gap.lasts else gap.back))
    return mask


def _apart(starts: Times, ends: Times, grains: NDArray[np.object_]) -> tuple[Times, NDArray[np.object_]]:
    """
    Return starts and grains of buckets none of which reaches over the end of another.

    A long one that ends after short ones begins where the last of these ended: it would be told before them else.
    """
    starts, grains = starts.copy(), grains.copy()
    for k in (np.flatnonzero(ends[:-1] > starts[1:]) + 1).tolist():
        starts[k], length = ends[k - 1], ends[k] - ends[k - 1]
        whole = length % _MINUTE == np.timedelta64(0)
        grains[k] = str(Grain(int(length / _MINUTE), "min") if whole else INSTANT)
        if not whole:
            starts[k] = ends[k] - np.timedelta64(1, "us")
    return starts, grains


def _count(times: Times, moments: Times, look_back: timedelta | None) -> NDArray[np.intp]:
    """Return how many points of the look-back are stored before each moment."""
    before = np.searchsorted(times, moments)
    oldest = 0 if look_back is None else np.searchsorted(times, moments - np.timedelta64(look_back))
    return np.asarray(before - oldest)


def _buckets(length: timedelta, step: np.timedelta64) -> int:
    """Return how many buckets make up a length, at least one."""
    return max(int(np.ceil(np.timedelta64(length) / step)), 1)


def _steps(times: Times, grains: Sequence[Grain]) -> Floats:
    """Return the usual length of the newest buckets in microseconds; of readings the usual distance so far, or NaN."""
    own = {grain: float(grain.nominal.astype(np.int64)) for grain in set(grains)}
    steps = np.array([own[grain] for grain in grains], np.float64)
    readings = np.flatnonzero(steps == 0)
    if not len(readings):
        return steps
    past = np.diff(times).astype(np.float64)
    newest = readings + len(times) - len(grains)
    long = newest >= _RECENT
    if long.any():
        windows = np.lib.stride_tricks.sliding_window_view(past, _RECENT)
        steps[readings[long]] = np.median(windows[newest[long] - _RECENT], axis=1)
    for k, i in zip(readings[~long].tolist(), newest[~long].tolist(), strict=True):
        steps[k] = np.median(past[:i]) if i >= 2 else np.nan
    return np.maximum(np.floor(steps), 1)


def _starts(
    start: np.datetime64, number: NDArray[np.int64], grain: Grain, step: np.timedelta64, timezone: str
) -> Times:
    """Return where the buckets begin that are so many after the one at ``start``, on the calendar of the zone."""
    if grain.unit in ("min", "h", "instant"):
        return np.asarray(start + number * step)
    local = to_local(np.array([start]), timezone)
    if grain.unit == "mo":
        month = local.astype("datetime64[M]")
        moved = (month + number * grain.count).astype("datetime64[us]") + (local - month.astype("datetime64[us]"))
    else:
        moved = local + number * step
    return to_utc(moved, timezone)


def _allowed(times: Times, grain: Grain, step: np.timedelta64, timezone: str) -> int | None:
    """Return how many missing buckets are usual for a metric with these stored ones; None: they are too few to tell."""
    if len(times) < LEAST:
        return None
    ordered = np.sort(_silences(times, grain, step, timezone))[::-1]
    third, further = ordered[_RANK - 1], ordered[_TAIL_RANK - 1]
    # Of an exponential tail so much lies between two ranks.
    tail = (third - further) / np.log(_TAIL_RANK / _RANK)
    margin = (_TAILS + np.log(HISTORY / min(len(times), HISTORY))) * tail
    span = times[-1] - times[0]
    never, hardly = ordered[0] <= _BUCKETS, third <= _BUCKETS
    steady = (never and span >= _NEVER_SILENT) or (hardly and span >= _HARDLY_SILENT)
    least = _BUCKETS if steady or span >= _KNOWN else max(_BUCKETS, float(_UNKNOWN / step))
    # One more missing bucket than these is a silence longer than that, whenever it ends.
    return int(np.ceil(max(least, _TIMES * third, third + margin) - 1e-9)) - 1


def _silences(times: Times, grain: Grain, step: np.timedelta64, timezone: str) -> Floats:
    """Return the distances of stored buckets in lengths of a bucket, 1 where none is missing."""
    if grain.unit == "mo":
        months = to_local(times, timezone).astype("datetime64[M]").astype(np.int64)
        return np.diff(months) / grain.count
    clock = to_local(times, timezone) if grain.unit in ("d", "w") else times
    return np.asarray(np.diff(clock) / step)
