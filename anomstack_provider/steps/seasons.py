"""The season before: which bucket an hour, a day or a month is held against, a week or a year earlier."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anomstack_provider.detection.grain import Grain, to_local, to_utc
from anomstack_provider.detection.series import Times

_WEEK, _YEAR_OF_WEEKS = np.timedelta64(7, "D"), np.timedelta64(364, "D")


@dataclass(frozen=True)
class Season:
    """
    How far before a bucket the same one of the season before lies, by the clock of the zone.

    :param months: for buckets of months, where a year is 12; else 0 and ``length`` counts.
    """

    name: str
    length: np.timedelta64
    months: int = 0

    def shift(self, times: Times, seasons: int, timezone: str) -> Times:
        """Return the times so many seasons later, negative: earlier; all ``datetime64[us]`` in UTC."""
        local = to_local(times, timezone)
        if self.months:
            months = local.astype("datetime64[M]")
            within = local - months.astype("datetime64[us]")
            return to_utc((months + seasons * self.months).astype("datetime64[us]") + within, timezone)
        return to_utc(local + seasons * self.length.astype("timedelta64[us]"), timezone)


def of_grain(grain: Grain) -> Season | None:
    """Return the season that buckets of a grain repeat in: a week up to days, a year from weeks on; else None."""
    if grain.unit == "mo":
        return Season("year before", np.timedelta64(365, "D"), 12) if 12 % grain.count == 0 else None
    if grain.unit == "w":
        return Season("year before", _YEAR_OF_WEEKS) if grain.count == 1 else None
    if grain.unit == "instant" or _WEEK.astype("timedelta64[us]") % grain.nominal:
        return None
    return Season("week before", _WEEK)
