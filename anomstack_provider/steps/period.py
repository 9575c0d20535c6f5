"""The period that a dashboard shows, as people write it: ``90n`` buckets, or ``7d``, ``24h``, ``45m`` up to now."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

_PATTERN = re.compile(r"([1-9][0-9]{0,5})([nhmd])")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_MOST_BUCKETS, _LONGEST = 10_000, timedelta(days=3660)


class PeriodRefused(ValueError):
    """A text that is no period; the message says what one looks like."""


@dataclass(frozen=True)
class Period:
    """
    What part of a series is shown.

    :param newest: so many of the newest buckets of each metric; None where ``length`` says how much.
    """

    text: str
    newest: int | None
    length: timedelta | None

    @classmethod
    def parse(cls, text: str) -> Period:
        """Read ``90n``, ``24h``, ``45m`` or ``7d``; raises :class:`PeriodRefused` for anything else."""
        found = _PATTERN.fullmatch(text.strip().lower())
        if found is None:
            raise PeriodRefused(f"{text[:40]!r} is no window: write 90n (buckets), 24h, 45m or 7d")
        count, unit = int(found[1]), found[2]
        if unit == "n":
            if count > _MOST_BUCKETS:
                raise PeriodRefused(f"{count} buckets are too many to show: {_MOST_BUCKETS} are the most")
            return cls(found[0], count, None)
        length = count * _UNITS[unit]
        if length > _LONGEST:
            raise PeriodRefused(f"{found[0]} is too long to show: {_LONGEST.days}d are the most")
        return cls(found[0], None, length)

    def since(self, now: datetime) -> datetime | None:
        """Return when it begins, None where buckets are counted."""
        return None if self.length is None else now - self.length

    def __str__(self) -> str:
        """Return it in words: ``last 90 buckets``, ``last 7 days``."""
        count = int(self.text[:-1])
        unit = {"n": "bucket", "m": "minute", "h": "hour", "d": "day"}[self.text[-1]]
        return f"last {unit}" if count == 1 else f"last {count:,} {unit}s"
