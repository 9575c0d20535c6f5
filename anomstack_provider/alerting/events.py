"""
Which of the buckets that fire are announced: a fold over the buckets in time, never over stored alerts.

A bucket that fires is announced unless one of the ``snooze_n`` buckets before it was. What was announced long ago
cannot matter once ``snooze_n`` buckets in a row did not fire, so the fold may begin at any such quiet gap and comes
out the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]


def announce(fires: Flags, snooze_n: int) -> Flags:
    """
    Return which buckets are announced, given that nothing was announced before the first, shape (n,).

    :param fires: which buckets fire, oldest first.
    :param snooze_n: so many buckets after an announced one stay silent.
    """
    announced = np.zeros(len(fires), bool)
    quiet_until = 0
    for i in np.flatnonzero(fires).tolist():
        if i >= quiet_until:
            announced[i] = True
            quiet_until = i + 1 + snooze_n
    return announced


def quiet_start(fires: Flags, first: int, snooze_n: int) -> int | None:
    """
    Return the newest position, not after ``first``, from which the fold is exact whatever lies before the array.

    That is one behind ``snooze_n`` buckets that did not fire. None if the array does not reach back that far.
    """
    for start in range(first, snooze_n - 1, -1):
        if not fires[start - snooze_n : start].any():
            return start
    return None
