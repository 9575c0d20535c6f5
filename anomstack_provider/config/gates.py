"""
The entries of ``alert_gates`` and ``metric_settings``: which findings are worth telling, and what to tell of a metric.

Read and checked here; what a gate lets through is found in ``alerting.gates``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from anomstack_provider.config.calendar import WEEKDAYS
from anomstack_provider.config.values import (
    Duration,
    Name,
    Number,
    OptionalCron,
    OptionalMoment,
    OptionalText,
    Positive,
    as_utc,
    nothing_is_empty,
    parse_duration,
    shown,
)

_DAYS = tuple(day[:3] for day in WEEKDAYS)
_SPAN = re.compile(
    r"(?:(?P<first>[a-z]{3,9})(?:\s*-\s*(?P<last>[a-z]{3,9}))?)?\s*"
    r"(?:(?P<from>\d{1,2}:\d{2})\s*-\s*(?P<to>\d{1,2}:\d{2}))?",
    re.IGNORECASE,
)


class _Part(BaseModel):
    # Only ever built as part of a BatchSpec.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


@lru_cache(maxsize=1024)
def hours(text: str) -> tuple[tuple[int, int, int], ...]:
    """
    Return (weekday, from, to) of ``Mon-Fri 08:00-20:00, Sat 10:00-14:00``, Monday 0, minutes after midnight.

    Hours that end at or before they begin end on the next day, so ``to`` may be above 1440.
    """
    found: list[tuple[int, int, int]] = []
    for part in text.split(","):
        match = _SPAN.fullmatch(part.strip())
        if not match or not part.strip():
            raise ValueError(f"expected hours such as Mon-Fri 08:00-20:00, several with commas, got {shown(text)}")
        first, last = _day(match["first"], 0), _day(match["last"] or match["first"], 6)
        begin, end = _minutes(match["from"] or "00:00"), _minutes(match["to"] or "24:00")
        end += 1440 if end <= begin else 0
        found += [((first + i) % 7, begin, end) for i in range((last - first) % 7 + 1)]
    return tuple(sorted(set(found)))


def _day(text: str | None, other: int) -> int:
    if text is None:
        return other
    name = text.lower()
    if name[:3] not in _DAYS or not WEEKDAYS[_DAYS.index(name[:3])].startswith(name):
        raise ValueError(f"unknown weekday '{text}'; write Mon, Tue, Wed, Thu, Fri, Sat or Sun")
    return _DAYS.index(name[:3])


def _minutes(text: str) -> int:
    hour, minute = (int(part) for part in text.split(":"))
    if minute > 59 or hour * 60 + minute > 1440:
        raise ValueError(f"'{text}' is no time of day; write 00:00 to 24:00")
    return hour * 60 + minute


def _check_hours(text: str) -> str:
    hours(text)
    return text


Hours = Annotated[
    str,
    AfterValidator(_check_hours),
    WithJsonSchema({"type": "string", "examples": ["Mon-Fri 08:00-20:00", "Mon-Fri 08:00-20:00, Sat 10:00-14:00"]}),
]


class MinVolume(_Part):
    """Another metric of the batch that must be large enough in the same bucket."""

    metric: Name = Field(description="Name of the metric that counts, in the same batch with the same buckets.")
    at_least: Number = Field(description="Its least value; with less, or no value at all, nothing alerts.")


class Range(_Part):
    """Values that are always fine."""

    lower: Number | None = Field(default=None, description="From here on; unset has no lower end.")
    upper: Number | None = Field(default=None, description="Up to here; unset has no upper end.")

    @model_validator(mode="after")
    def _in_order(self) -> Range:
        if self.upper is None and self.lower is None:
            raise ValueError("give upper, lower or both")
        if self.upper is not None and self.lower is not None and self.lower > self.upper:
            raise ValueError(f"lower ({self.lower:g}) is above upper ({self.upper:g})")
        return self


class Guardrail(_Part):
    """Another metric of the batch that must be outside its own expected range in the same bucket."""

    metric: Name = Field(description="Name of the other metric, in the same batch with the same buckets.")
    direction: Literal["both", "up", "down"] = Field(
        default="both", description="On which side of its range it must be: up is above."
    )


class Maintenance(_Part):
    """Time in which nothing alerts: once from start to end, or so long after each tick of a cron."""

    start: OptionalMoment = Field(
        default=None, description="First moment; without an offset in the batch's timezone, as the end."
    )
    end: OptionalMoment = Field(default=None, description="First moment after it.")
    cron: OptionalCron = Field(default=None, description="When it begins again and again, in the batch's timezone.")
    duration: Duration | None = Field(default=None, description="How long it lasts after each tick of cron.")

    def conflicts(self, timezone: str) -> Iterator[tuple[str, str]]:
        """Yield (key, sentence) for keys that do not go together."""
        if self.cron is not None or self.duration is not None:
            for key in ("start", "end"):
                if getattr(self, key) is not None:
                    yield key, "does not go with cron and duration; keep one of the two kinds"
            if self.cron is None:
                yield "cron", "is missing; give when it begins, such as '0 2 * * 0'"
            if not self.duration:
                yield "duration", "is missing; give how long it lasts, such as 2h"
        elif self.start is None or self.end is None:
            yield "start" if self.start is None else "end", "is missing; give start and end, or cron and duration"
        elif as_utc(self.end, timezone) <= as_utc(self.start, timezone):
            yield "end", f"expected an end after start ({self.start}), got {self.end}"


class Gates(_Part):
    """Business rules that a finding has to pass; each that is unset lets everything through."""

    direction: Literal["both", "up", "down"] = Field(
        default="both", description="Alert only on values above (up) or below (down) what is expected."
    )
    min_abs_change: Positive | None = Field(
        default=None, description="Least distance from the expected value, in the metric's unit."
    )
    min_pct_change: Positive | None = Field(
        default=None, description="Least distance from the expected value, in percent of it."
    )
    min_volume: MinVolume | None = Field(default=None, description="Another metric that must be large enough.")
    valid_range: Range | None = Field(default=None, description="A value inside never alerts: {lower, upper}.")
    guardrail: Guardrail | None = Field(
        default=None, description="Another metric that must be outside its own expected range."
    )
    active_hours: Hours | None = Field(
        default=None, description="Hours in the batch's timezone; a bucket wholly outside them never alerts."
    )
    maintenance: tuple[Maintenance, ...] | None = Field(
        default=None, description="A bucket of which half or more lies in one of these never alerts."
    )

    @property
    def references(self) -> frozenset[str]:
        """Names of the other metrics that it looks at."""
        return frozenset(part.metric for part in (self.min_volume, self.guardrail) if part is not None)

    def over(self, weaker: Gates) -> Gates:
        """Return these gates, with what they do not mention from the weaker ones."""
        return weaker.model_copy(update={key: getattr(self, key) for key in self.model_fields_set})

    def conflicts(self, timezone: str) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Yield (path, sentence) for keys that do not go together."""
        for position, entry in enumerate(self.maintenance or ()):
            for key, message in entry.conflicts(timezone):
                yield ("maintenance", position, key), message


OptionalGates = Annotated[Gates, BeforeValidator(nothing_is_empty)]


class MetricSettings(_Part):
    """What holds for some metrics."""

    title: OptionalText = Field(default=None, description="Name to show instead of the metric's own.")
    unit: OptionalText = Field(default=None, description="Shown behind every value, such as EUR, ms or a percent sign.")
    owner: OptionalText = Field(default=None, description="Who looks after it.")
    priority: Literal["low", "normal", "high"] = Field(
        default="normal", description="Severity of its alerts is one step lower (low) or higher (high)."
    )
    runbook: OptionalText = Field(default=None, description="URL of what to do.")
    dashboard: OptionalText = Field(default=None, description="URL of where to look.")
    alert_gates: OptionalGates = Field(default=Gates(), description="Its own gates, key by key before the batch's.")


def named(settings: Mapping[str, MetricSettings], metric_name: str) -> Iterator[MetricSettings]:
    """Yield what holds for a metric, weakest first: entries under its name, or a glob such as ``*_eur`` that fits."""
    for pattern, entry in settings.items():
        if pattern == metric_name or fnmatchcase(metric_name, pattern):
            yield entry


def _freshness(value: object) -> object:
    # Plain YAML says false where a person wrote off, and true where one wrote on.
    if isinstance(value, bool):
        return "auto" if value else "off"
    if isinstance(value, str) and value.strip().lower() in ("auto", "off"):
        return value.strip().lower()
    try:
        age = parse_duration(value)
    except ValueError:
        raise ValueError(f"expected auto, off or a duration such as 3h, got {shown(value)}") from None
    if not age:
        raise ValueError("expected auto, off or more than 0, such as 3h")
    return age


Freshness = Annotated[
    Literal["auto", "off"] | Duration,
    BeforeValidator(_freshness),
    WithJsonSchema({"type": ["string", "number"], "format": "anomstack-freshness", "examples": ["auto", "off", "3h"]}),
]
SettingsMap = Annotated[dict[Name, MetricSettings], BeforeValidator(nothing_is_empty)]
