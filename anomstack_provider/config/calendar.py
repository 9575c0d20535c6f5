"""
The entries of ``holidays`` and ``events``: which days or times they name, of which metrics, and what follows.

Read and checked here; which bucket lies in which entry is found in ``detection.calendar``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from anomstack_provider.config.explain import nearest
from anomstack_provider.config.ics import check_ics, is_path
from anomstack_provider.config.values import (
    MetricList,
    OptionalText,
    TagMap,
    as_utc,
    shown,
    split_list,
)

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_ACTIONS = ("suppress", "exclude_from_training", "annotate", "treat_as")
_TREAT_AS = re.compile(r"treat_as\s*:?\s*(.*)", re.IGNORECASE)
_ACTION = "suppress, treat_as: <weekday>, exclude_from_training, annotate; or a list of them."
YEARS = (1900, 2200)
_A_YEAR = timedelta(days=366)


def read_actions(value: object) -> tuple[str, ...]:
    """Return actions as text, ``suppress`` or ``treat_as: sunday``; they may be given as text, mapping or list."""
    texts = tuple(_action(entry) for entry in (value if isinstance(value, list | tuple) else [value]))
    if not texts:
        raise ValueError(f"is empty; give one of {', '.join(_ACTIONS)}")
    if len(days := sorted({text for text in texts if text.startswith("treat_as")})) > 1:
        raise ValueError(f"has {' and '.join(days)}; keep one of them")
    return tuple(dict.fromkeys(texts))


def _action(value: object) -> str:
    if isinstance(value, Mapping) and list(value) == ["treat_as"]:
        value = f"treat_as: {value['treat_as'] or ''}"
    if not isinstance(value, str):
        raise ValueError(f"expected one of {', '.join(_ACTIONS)}, got {shown(value)}")
    text = value.strip().lower()
    if match := _TREAT_AS.fullmatch(text):
        if match[1] not in WEEKDAYS:
            hint = nearest(match[1], WEEKDAYS) or "; such as treat_as: sunday"
            raise ValueError(f"treat_as: unknown weekday '{match[1]}'{hint}")
        return f"treat_as: {match[1]}"
    if text not in _ACTIONS:
        raise ValueError(f"unknown action '{value}'{nearest(text, _ACTIONS) or '; known are ' + ', '.join(_ACTIONS)}")
    return text


_DAY = {"type": "string", "examples": list(WEEKDAYS)}
_ONE_ACTION = [
    {"type": "string", "examples": ["suppress", "exclude_from_training", "annotate", "treat_as: sunday"]},
    {"type": "object", "properties": {"treat_as": _DAY}, "required": ["treat_as"], "additionalProperties": False},
]
Actions = Annotated[
    tuple[str, ...],
    BeforeValidator(read_actions),
    WithJsonSchema({"anyOf": [*_ONE_ACTION, {"type": "array", "minItems": 1, "items": {"anyOf": _ONE_ACTION}}]}),
]


class _Entry(BaseModel):
    """An action and the metrics that it holds for."""

    # Only ever built as part of a BatchSpec.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    action: Actions
    metrics: MetricList = Field(default=(), description="Only these metrics; with tags too, these and the tagged ones.")
    tags: TagMap = Field(default_factory=dict, description="Only metrics whose metric_tags have all of these.")

    def __hash__(self) -> int:
        values = (tuple(value.items()) if isinstance(value, dict) else value for value in self.__dict__.values())
        return hash(tuple(values))

    @property
    def suppresses(self) -> bool:
        """Whether buckets in it never alert."""
        return "suppress" in self.action

    @property
    def excludes(self) -> bool:
        """Whether buckets in it are gaps to training."""
        return "exclude_from_training" in self.action

    @property
    def weekday(self) -> int | None:
        """The weekday that buckets in it are taken for, Monday 0; None for their own."""
        days = (text.removeprefix("treat_as: ") for text in self.action if text.startswith("treat_as"))
        return next((WEEKDAYS.index(day) for day in days), None)

    @property
    def changes_models(self) -> bool:
        """Whether a model would be another without it."""
        return self.excludes or self.weekday is not None

    def covers(self, metric_name: str, tags: Mapping[str, str]) -> bool:
        """Whether it holds for a metric with these tags."""
        if not self.metrics and not self.tags:
            return True
        return metric_name in self.metrics or (bool(self.tags) and self.tags.items() <= tags.items())


def _code(value: object) -> object:
    """Read a code; YAML takes NO (Norway), ON (Ontario) and numbers for something else."""
    if isinstance(value, bool):
        raise ValueError(f"expected a code such as DE, got {shown(value)}; put it in quotes, such as 'NO'")
    return str(value).strip() if isinstance(value, str | int) else value


class Holidays(_Entry):
    """The public holidays of a country, or of one of its subdivisions too."""

    country: Annotated[str, BeforeValidator(_code)] = Field(description="Code of the country, such as DE.")
    subdivision: Annotated[str | None, BeforeValidator(_code)] = Field(
        default=None, description="Code of a state, a province or the like, such as BY."
    )
    action: Actions = Field(default=("treat_as: sunday",), description=_ACTION)

    @model_validator(mode="before")
    @classmethod
    def _from_code(cls, value: object) -> object:
        if not isinstance(value, str | bool):
            return value
        country, _, subdivision = str(_code(value)).partition("-")
        return {"country": country, "subdivision": subdivision or None}

    @field_validator("country")
    @classmethod
    def _known_country(cls, country: str) -> str:
        if country.upper() not in _countries():
            raise ValueError(f"unknown country '{country}'; give its two letters of ISO 3166, such as DE")
        return country.upper()

    @field_validator("subdivision")
    @classmethod
    def _known_subdivision(cls, subdivision: str | None, info: ValidationInfo) -> str | None:
        # A wrong country is missing from the data and reported on its own.
        if subdivision is None or "country" not in info.data:
            return subdivision
        return _subdivision(info.data["country"], subdivision)


@lru_cache(maxsize=1)
def _countries() -> frozenset[str]:
    import holidays

    return frozenset(holidays.list_supported_countries(include_aliases=True))


@lru_cache(maxsize=1024)
def _subdivision(country: str, text: str) -> str:
    import holidays

    known = holidays.country_holidays(country)
    names = {name.upper(): name for name in (*known.subdivisions_aliases, *known.subdivisions)}
    if text.upper() not in names:
        listed = f"known are {', '.join(known.subdivisions)}" if names else "there are none; remove it"
        raise ValueError(f"unknown subdivision '{text}' of {country}; {listed}")
    return names[text.upper()]


def read_day(value: object) -> date:
    """Read an ISO 8601 date, or date and time; a date stays one and means the whole day."""
    found = value
    if isinstance(value, str):
        for kind in (date, datetime):
            try:
                found = kind.fromisoformat(value.strip())
                break
            except ValueError:
                continue
    if not isinstance(found, date):
        example = "a date such as 2024-12-24, or a date and time such as 2024-12-24T18:00"
        raise ValueError(f"expected {example}, got {shown(value)}")
    if not YEARS[0] <= found.year <= YEARS[1]:
        raise ValueError(f"expected a year from {YEARS[0]} to {YEARS[1]}, got {shown(value)}")
    return found


Day = Annotated[
    InstanceOf[date],
    BeforeValidator(read_day),
    PlainSerializer(date.isoformat, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "examples": ["2024-12-24", "2024-12-24T18:00", "2024-12-24T18:00+01:00"]}),
]


class Event(_Entry):
    """Something known to happen: a name and its dates, or an iCalendar file of such."""

    name: OptionalText = Field(default=None, description="What it is, as messages name it.")
    start: Day | None = Field(
        default=None, description="First day, or a moment; without an offset in the batch's timezone."
    )
    end: Day | None = Field(default=None, description="Last day, inclusive; or the moment when it is over.")
    yearly: bool = Field(default=False, description="On these dates of every year.")
    ics: OptionalText = Field(
        default=None,
        description="iCalendar file instead of name and dates, relative to the batch's file; or its text.",
    )
    action: Actions = Field(default=("annotate",), description=_ACTION)

    @field_validator("ics")
    @classmethod
    def _readable(cls, text: str | None) -> str | None:
        if text is not None and is_path(text):
            raise ValueError(f"{shown(text)} cannot be read from here; give the text of the iCalendar file")
        return text if text is None else check_ics(text)

    def conflicts(self, timezone: str) -> Iterator[tuple[str, str]]:
        """Yield (key, sentence) for keys that do not go together."""
        if self.ics is not None:
            for key in ("name", "start", "end", "yearly"):
                if getattr(self, key):
                    yield key, "the iCalendar file has its own; remove it"
            return
        if self.name is None:
            yield "name", "is missing; name the event, or give the ics file that it is in"
        if self.start is None:
            yield "start", "is missing; give a date such as 2024-12-24"
        elif self.end is None and isinstance(self.start, datetime):
            yield "end", "is missing; an event that starts at a time of day needs one"
        else:
            first, after = self.bounds(timezone)
            if after <= first:
                yield "end", f"expected an end after start ({self.start}), got {self.end}"
            elif self.yearly and after - first > _A_YEAR:
                yield "yearly", "the event is longer than a year; give it once, or shorten it"

    def bounds(self, timezone: str, years: int = 0) -> tuple[datetime, datetime]:
        """
        Return its first moment and the first after it, aware UTC.

        :param years: so many years later on the calendar. Without a 29 February there, the day is left out: what
            begins on it begins with 1 March, what ends on it ends with 28 February.
        """
        assert self.start is not None
        end = self.end or self.start
        if isinstance(end, datetime):
            after = _later(_wall(end, timezone), years)
        else:
            after = _later(_wall(end, timezone), years, last=True) + timedelta(days=1)
        return as_utc(_later(_wall(self.start, timezone), years), timezone), as_utc(after, timezone)


def _wall(moment: date, timezone: str) -> datetime:
    """Return a moment on the wall clock of ``timezone``, naive; a date is its midnight."""
    if not isinstance(moment, datetime):
        return datetime.combine(moment, time())
    return moment.astimezone(ZoneInfo(timezone)).replace(tzinfo=None) if moment.tzinfo else moment


def _later(moment: datetime, years: int, *, last: bool = False) -> datetime:
    try:
        return moment.replace(year=moment.year + years)
    except ValueError:
        if last:
            return moment.replace(year=moment.year + years, day=28)
        return datetime.combine(moment.date().replace(year=moment.year + years, month=3, day=1), time())


def _listed(value: object) -> Any:
    if isinstance(value, bool):
        _code(value)
    if value is None or isinstance(value, str):
        return split_list(value)
    if isinstance(value, list | tuple):
        return tuple(value)
    raise ValueError(f"expected a country code such as DE, or a list of them, got {shown(value)}")


def nothing_is_no_entry(value: object) -> object:
    """Read a list whose entries are all commented out, None, as an empty one."""
    return () if value is None else value


HolidayList = Annotated[
    tuple[Holidays, ...],
    BeforeValidator(_listed, json_schema_input_type=str | list[str | Holidays] | None),
]
EventList = Annotated[tuple[Event, ...], BeforeValidator(nothing_is_no_entry)]
