"""The length of a metric's buckets: read from the config, or inferred from its timestamps; and where a bucket ends."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.detection.series import Times

_PATTERN = re.compile(r"(\d*)\s*(min|h|d|w|mo)")
_SECONDS = {"min": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
# What metrics are counted by in practice; a month is told by its length, 28 to 31 days.
_CANDIDATES = [(n, "min") for n in (1, 2, 3, 5, 10, 15, 20, 30)] + [(n, "h") for n in (1, 2, 3, 4, 6, 8, 12)]
_CANDIDATES += [(1, "d"), (1, "w")]
_LENGTHS = {count * _SECONDS[unit]: (count, unit) for count, unit in _CANDIDATES}
# So many of the newest steps decide: enough for a gap or two not to count, few enough to follow a change of schedule.
_STEPS = 21
# A stray row or two among them do not make readings of a metric that has buckets.
_ON_GRID = 0.9
# A reading is a bucket of the shortest length there is. With none, a reading at the very end of a run's half-open
# window would belong to that run, which has not ingested it yet, and no run would judge it.
_TICK = np.timedelta64(1, "us")


@dataclass(frozen=True)
class Grain:
    """``count`` units of ``min``, ``h``, ``d``, ``w`` or ``mo``; ``instant`` for readings closed when taken."""

    count: int
    unit: str

    def __str__(self) -> str:
        return "instant" if self.unit == "instant" else f"{self.count}{self.unit}"

    @property
    def nominal(self) -> np.timedelta64:
        """Usual length of a bucket; zero for ``instant``, 30 days for a month."""
        if self.unit == "instant":
            return np.timedelta64(0, "us")
        seconds = 30 * 86_400 if self.unit == "mo" else _SECONDS[self.unit]
        return np.timedelta64(self.count * seconds * 1_000_000, "us")

    def ends(self, starts: Times, timezone: str) -> Times:
        """
        Return where the buckets that begin at ``starts`` end, both UTC.

        Days, weeks and months follow the calendar of ``timezone``, so a day has 23 or 25 hours when the clocks change.
        """
        if self.unit == "instant":
            return starts + _TICK
        if self.unit in ("min", "h"):
            return starts + self.nominal
        local = to_local(starts, timezone)
        if self.unit == "mo":
            months = local.astype("datetime64[M]")
            ended = (months + self.count).astype("datetime64[us]") + (local - months.astype("datetime64[us]"))
        else:
            ended = local + self.nominal
        return to_utc(ended, timezone)


INSTANT = Grain(0, "instant")


def parse(text: str) -> Grain:
    """Read ``15min``, ``1h``, ``d``, ``1w``, ``1mo`` or ``instant``; raises ``ValueError`` for anything else."""
    if text == "instant":
        return INSTANT
    match = _PATTERN.fullmatch(text.strip())
    if not match or match[1] == "0":
        raise ValueError(f"grain {text!r} is not a count and one of min, h, d, w, mo, nor 'instant'")
    return Grain(int(match[1] or 1), match[2])


def of_freq(freq: str) -> Grain:
    """
    Return the grain of series that are resampled to a pandas frequency.

    :raises ValueError: its buckets have no fixed place in the calendar (``2W`` begins wherever the data do), or no
        grain can name them (seconds, business days).
    """
    import pandas as pd
    from pandas.tseries.frequencies import to_offset

    offset = to_offset(freq)
    count = offset.n
    if isinstance(offset, pd.offsets.Day):
        return Grain(count, "d")
    if isinstance(offset, pd.offsets.Tick):
        minutes, rest = divmod(pd.Timedelta(offset).value, 60 * 10**9)
        if minutes and not rest:
            return Grain(minutes // 60, "h") if minutes % 60 == 0 else Grain(minutes, "min")
    calendar = {pd.offsets.Week: (1, "w"), pd.offsets.MonthBegin: (1, "mo"), pd.offsets.QuarterBegin: (3, "mo")}
    if count == 1 and type(offset) in calendar:
        return Grain(*calendar[type(offset)])
    raise ValueError(
        f"freq {freq!r} cannot be used; give minutes, hours or days such as 15min, 6h, 7D, or one of W, MS, QS"
    )


def infer(times: Times, timezone: str) -> Grain:
    """
    Return the grain that the newest of these timestamps keep, or ``INSTANT`` where they keep none.

    A metric has a grain when its median step is a usual bucket length and its timestamps lie on that grid; readings
    taken at odd moments (a job that stores "now") have none. Fewer than three points tell nothing: ``INSTANT``.
    """
    return _inferred(times[-(_STEPS + 1) :].astype("datetime64[us]", copy=False).tobytes(), timezone)


# Most metrics of a batch have their buckets at the same times.
@lru_cache(maxsize=64)
def _inferred(recent: bytes, timezone: str) -> Grain:
    clocks = _clocks(np.frombuffer(recent, "datetime64[us]"), timezone)
    return _kept([clock[None, :] for clock in clocks])[0]


def infer_each(times: Times, timezone: str, first: int = 0) -> list[Grain]:
    """Return for each timestamp from position ``first`` on the grain that those up to it keep; see :func:`infer`."""
    since = max(first - _STEPS, 0)
    clocks = _clocks(times[since:], timezone)
    count = len(times) - since
    found = []
    for end in range(first - since + 1, min(count, _STEPS) + 1):
        found += _kept([clock[None, :end] for clock in clocks])
    if count > _STEPS:
        found += _kept([np.lib.stride_tricks.sliding_window_view(clock, _STEPS + 1) for clock in clocks])
    return found


def _clocks(times: Times, timezone: str) -> list[Times]:
    """Return the times on the clock of the zone and on that of UTC: hours of UTC are hours, whatever the offset."""
    return [times] if timezone == "UTC" else [to_local(times, timezone), times]


def _kept(clocks: Sequence[Times]) -> list[Grain]:
    """Return the grain of each row of timestamps, given on one clock or more; the first that shows one tells it."""
    found: list[Grain | None] = [None] * len(clocks[0])
    for clock in clocks if clocks[0].shape[1] >= 3 else ():
        ordered = np.sort(np.diff(clock, axis=1).astype(np.int64), axis=1)
        # The medians; np.median takes as long as all the rest here.
        last = ordered.shape[1] - 1
        steps = (ordered[:, last // 2] + ordered[:, (last + 1) // 2]) / 2e6
        for length in set(steps.tolist()):
            if length in _LENGTHS:
                fits, kept = _aligned(clock, length), Grain(*_LENGTHS[length])
            elif 28 * 86_400 <= length <= 31 * 86_400:
                fits, kept = np.all(clock == clock.astype("datetime64[M]"), axis=1), Grain(1, "mo")
            else:
                continue
            for row in np.flatnonzero((steps == length) & fits).tolist():
                found[row] = found[row] or kept
    return [kept or INSTANT for kept in found]


def _aligned(clock: Times, seconds: float) -> NDArray[np.bool_]:
    """Whether nearly all times of a row lie on the grid of that length within the day (from a day on: on midnights)."""
    grid = int(min(seconds, 86_400)) * 1_000_000
    return np.asarray(np.mean(clock.astype(np.int64) % grid == 0, axis=1) >= _ON_GRID)


def mixed_ends(grains: Sequence[str], starts: Times, timezone: str) -> Times:
    """Return where the buckets that begin at ``starts`` end, each of a grain of its own, as text."""
    texts, ends = np.array(grains, object), starts.copy()
    for text in set(grains):
        mine = texts == text
        ends[mine] = parse(text).ends(starts[mine], timezone)
    return ends


def to_local(times: Times, timezone: str) -> Times:
    """Return the wall-clock times of ``timezone`` for UTC times."""
    if timezone == "UTC":
        return times
    import pandas as pd

    return np.asarray(
        pd.DatetimeIndex(times, tz="UTC").tz_convert(timezone).tz_localize(None).to_numpy(), "datetime64[us]"
    )


def to_utc(local: Times, timezone: str, *, last: bool = False) -> Times:
    """
    Return the UTC times of wall-clock times of ``timezone``.

    :param last: a wall-clock time that the clocks repeat is taken the last time instead of the first.
    """
    if timezone == "UTC":
        return local
    import pandas as pd

    # A wall-clock time that the clocks skip ends when they jump.
    index = pd.DatetimeIndex(local).tz_localize(
        timezone, nonexistent="shift_forward", ambiguous=np.full(len(local), not last)
    )
    return np.asarray(index.tz_convert("UTC").tz_localize(None).to_numpy(), "datetime64[us]")
