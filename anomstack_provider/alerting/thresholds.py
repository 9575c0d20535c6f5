"""Which values lie outside of the fixed bounds of their metric. Pure arrays."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.detection.series import Floats


class Bounds(Protocol):
    """An entry of ``tholdalert_thresholds``; an end that is None is open."""

    @property
    def upper(self) -> float | None: ...
    @property
    def lower(self) -> float | None: ...


def limits(bounds: Bounds) -> tuple[float, float]:
    """Return the lower and the upper bound, NaN for an open end."""
    lower, upper = (np.nan if bound is None else float(bound) for bound in (bounds.lower, bounds.upper))
    return lower, upper


def sides(values: Floats, bounds: Bounds) -> NDArray[np.int8]:
    """Return 1 for a value above the upper bound, -1 below the lower one, 0 at a bound or between, shape (n,)."""
    lower, upper = limits(bounds)
    with np.errstate(invalid="ignore"):
        return np.asarray((values > upper).astype(np.int8) - (values < lower).astype(np.int8))
