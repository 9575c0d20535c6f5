"""
Which of the buckets that fire are announced: a fold over the buckets in time, never over stored alerts.

A bucket that fires is announced unless one that was announced mutes it, so many buckets or so much time before. What
was announced long ago cannot matter once nothing that fired mutes a bucket, so the fold may begin at any such quiet
gap and comes out the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.detection.series import Times

Flags = NDArray[np.bool_]
Positions = NDArray[np.intp]


@dataclass(frozen=True)
class Silence:
    """What follows an announcement: so many buckets, and so much time, in which the metric stays silent."""

    buckets: int
    time: timedelta

    def until(self, times: Times) -> Positions:
        """Return for each bucket the position of the first later one that it would not mute."""
        by_count = np.arange(len(times)) + 1 + self.buckets
        return np.maximum(by_count, np.searchsorted(times, times + np.timedelta64(self.time)))

    def unknown_until(self, times: Times) -> int:
        """Return the first position that no bucket before the first one mutes."""
        by_time = int(np.searchsorted(times, times[0] + np.timedelta64(self.time))) if len(times) else 0
        return max(self.buckets, by_time)


def announce(fires: Flags, times: Times, silence: Silence) -> Flags:
    """
    Return which buckets are announced, given that nothing was announced before the first, shape (n,).

    :param fires: which buckets fire, oldest first.
    """
    announced = np.zeros(len(fires), bool)
    until = silence.until(times)
    quiet_until = 0
    for i in np.flatnonzero(fires).tolist():
        if i >= quiet_until:
            announced[i] = True
            quiet_until = int(until[i])
    return announced


def quiet_start(fires: Flags, times: Times, first: int, silence: Silence) -> int | None:
    """
    Return the newest position, not after ``first``, from which the fold is exact whatever lies before the array.

    That is one that no bucket mutes that fired before it. None if the array does not reach back that far.
    """
    hot = np.flatnonzero(fires[:first])
    latest = np.maximum.accumulate(silence.until(times)[hot])
    for start in range(first, silence.unknown_until(times) - 1, -1):
        before = int(np.searchsorted(hot, start))
        if before == 0 or latest[before - 1] <= start:
            return start
    return None
