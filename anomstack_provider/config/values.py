"""The kinds of value a key can have: how each is read from YAML, from an environment variable or from Python.

Every kind is a type that pydantic understands and carries its own JSON Schema; a value that does not fit
raises ``ValueError`` with a sentence for the person who wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from difflib import get_close_matches
from functools import lru_cache
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, PlainSerializer, WithJsonSchema

from anomstack_provider.config.crons import check_cron

_UNIT_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?\s*(?:min|[smhdw])\s*)+", re.IGNORECASE)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(min|[smhdw])", re.IGNORECASE)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_ISO = re.compile(
    r"P(?=.)(?:(\d+(?:\.\d+)?)W)?(?:(\d+(?:\.\d+)?)D)?"
    r"(?:T(?=.)(?:(\d+(?:\.\d+)?)H)?(?:(\d+(?:\.\d+)?)M)?(?:(\d+(?:\.\d+)?)S)?)?",
    re.IGNORECASE,
)
_GRAIN = re.compile(r"[1-9]\d*(?:min|h|d|w|mo)")
_CLOCK = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d")
_FREQ = re.compile(r"\d*[A-Za-z]+(?:-[A-Za-z]+)?")
_COMMA_OUTSIDE_QUOTES = re.compile(r""",(?=(?:[^'"]|'[^']*'|"[^"]*")*\Z)""")


def parse_duration(value: object) -> timedelta:
    """Read ``2h``, ``90m``, ``1d12h``, ISO 8601 (``PT2H``), or seconds as number or text; never negative."""
    wrong = ValueError(f"expected a duration such as 90m, 2h, 1d or PT2H, or a number of seconds, got {shown(value)}")
    try:
        if isinstance(value, timedelta):
            duration = value
        elif isinstance(value, int | float) and not isinstance(value, bool):
            duration = timedelta(seconds=value)
        elif isinstance(value, str):
            duration = _duration_text(value.strip())
        else:
            raise wrong
    except (OverflowError, ValueError):
        raise wrong from None
    if duration < timedelta(0):
        raise ValueError(f"expected a duration of 0 or more, got {shown(value)}")
    return duration


def _duration_text(text: str) -> timedelta:
    if _NUMBER.fullmatch(text):
        return timedelta(seconds=float(text))
    if _DURATION.fullmatch(text):
        parts = _DURATION_PART.findall(text)
        return timedelta(seconds=sum(float(number) * _UNIT_SECONDS[unit.lower()] for number, unit in parts))
    if match := _ISO.fullmatch(text):
        weeks, days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
        return timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    raise ValueError(text)


def format_duration(duration: timedelta) -> str:
    """Return a text that :func:`parse_duration` reads back: ``0``, ``90m``, ``2h``, ``30d``, ``1.5s``."""
    seconds = duration.total_seconds()
    if seconds == 0:
        return "0"
    for unit in ("d", "h", "m"):
        if seconds % _UNIT_SECONDS[unit] == 0:
            return f"{int(seconds) // _UNIT_SECONDS[unit]}{unit}"
    return f"{seconds:.6f}".rstrip("0").rstrip(".") + "s"


def parse_moment(value: object) -> datetime:
    """Read an ISO 8601 date or date and time; without an offset the result is naive."""
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime.combine(value, time())
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value.strip())
        except ValueError:
            pass  # said below, in one sentence for every wrong value
    raise ValueError(f"expected a date such as 2024-01-31 or 2024-01-31T06:00:00+00:00, got {shown(value)}")


def as_utc(moment: datetime, timezone: str) -> datetime:
    """Return ``moment`` as aware UTC, a naive one read as wall clock time of ``timezone``."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(timezone))
    try:
        return aware.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{moment} is outside the calendar") from None


@lru_cache(maxsize=1024)
def check_timezone(name: str) -> str:
    """Return ``name`` if it is a time zone of the IANA database."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # KeyError: no such name; ValueError: a path out of the database; OSError: one of its folders.
        near = get_close_matches(name, sorted(available_timezones()), n=1, cutoff=0.75)
        hint = f"; did you mean '{near[0]}'?" if near else "; write an IANA name such as Europe/Berlin or UTC"
        raise ValueError(f"unknown time zone '{name}'{hint}") from None
    return name


def check_grain(text: str) -> str:
    """Return ``text`` if it is a bucket length such as ``15min`` or ``1mo``, or ``instant``."""
    if text == "instant" or _GRAIN.fullmatch(text):
        return text
    raise ValueError(f"expected a number and min, h, d, w or mo, such as 15min, 1h, 1d, or instant; got {shown(text)}")


def check_freq(text: str) -> str:
    """Return ``text`` if it has the form of a pandas frequency such as ``10min``, ``1h`` or ``W-MON``."""
    if _FREQ.fullmatch(text):
        return text
    raise ValueError(f"expected a frequency such as 10min, 1h or 1D, got {shown(text)}")


def check_quiet_hours(text: str) -> str:
    """Return ``text`` if it is a time of day, such as ``22:00-07:00``; it may pass midnight."""
    times = [part.strip() for part in text.split("-")]
    if len(times) == 2 and all(_CLOCK.fullmatch(part) for part in times) and times[0] != times[1]:
        return "-".join(times)
    raise ValueError(f"expected a time of day such as 22:00-07:00, got {shown(text)}")


def check_channel_name(name: str) -> str:
    """Return ``name`` if it can stand among ``alert_methods``."""
    if re.fullmatch(r"[a-z][a-z0-9_-]{0,49}", name):
        return name
    raise ValueError(f"expected up to 50 small letters, digits, _ and -, such as pagerduty, got {shown(name)}")


def check_class_path(path: str) -> str:
    """Return ``path`` if it has the form of a module and a class in it."""
    parts = path.split(".")
    if len(parts) > 1 and all(part.isidentifier() for part in parts):
        return path
    raise ValueError(f"expected the dotted path of a class, such as package.module.Class, got {shown(path)}")


def check_model_path(path: str) -> str:
    """Return ``path`` if it holds no password; that is not repeated."""
    if re.match(r"[^/]+://[^/@]*:.*@", path):
        raise ValueError(
            "holds a password: put that into an Airflow connection, whose id stands there instead, "
            "as in s3://conn_id@bucket/models"
        )
    return path


def split_list(value: object) -> object:
    """Make a list of comma text; numbers in a list become text; None is the empty list."""
    if value is None:
        return ()
    if isinstance(value, str):
        return tuple(part.strip() for part in _COMMA_OUTSIDE_QUOTES.split(value) if part.strip())
    if isinstance(value, list | tuple):
        return tuple(_number_as_text(entry) for entry in value)
    raise ValueError(f"expected comma-separated text or a list of text, got {shown(value)}")


def strip_quotes(names: tuple[str, ...]) -> tuple[str, ...]:
    """Remove the quotes that Anomstack needed inside the names of ``*_exclude_metrics``."""
    return tuple(name[1:-1] if len(name) > 1 and name[0] == name[-1] and name[0] in "'\"" else name for name in names)


def check_addresses(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """Return ``addresses`` if each has the form of an email address."""
    for address in addresses:
        if not re.fullmatch(r"[^@\s]+@[^@\s]+", address):
            raise ValueError(f"{shown(address)} is not an email address")
    return addresses


def shown(value: object) -> str:
    """Return a wrong value as its writer would know it again, at most about 60 characters."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _number_as_text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _no_switch(value: object) -> object:
    # pydantic reads true as 1; a person who wrote it meant something else.
    if isinstance(value, bool):
        raise ValueError(f"expected a number, got {shown(value)}")
    return value


def _some_jobs(value: int) -> int:
    if value == 0:
        raise ValueError("expected a number of processes, or -1 for one per processor, got 0")
    return value


def _nothing_is_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def nothing_is_empty(value: object) -> object:
    """Read a mapping whose entries are all commented out, None, as an empty one."""
    return {} if value is None else value


def _upper(value: object) -> object:
    return value.strip().upper() or None if isinstance(value, str) else value


def _lower_names(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.lower() for name in names)


def _tags_as_text(value: object) -> object:
    if not isinstance(value, Mapping):
        return value
    return {name: _values_as_text(tags) for name, tags in value.items()}


def _values_as_text(tags: object) -> object:
    if not isinstance(tags, Mapping):
        return tags
    return {key: str(tag).lower() if isinstance(tag, bool) else _number_as_text(tag) for key, tag in tags.items()}


_LIST_INPUT = BeforeValidator(split_list, json_schema_input_type=str | list[str] | None)
_NUMBER_ONLY = BeforeValidator(_no_switch)

_OPTIONAL = BeforeValidator(_nothing_is_none)

OptionalText = Annotated[str | None, _OPTIONAL]
Name = Annotated[str, Field(min_length=1)]
ChannelName = Annotated[str, AfterValidator(check_channel_name)]
ClassPath = Annotated[str, AfterValidator(check_class_path)]
ModelPath = Annotated[Name, AfterValidator(check_model_path)]
Count = Annotated[int, Field(ge=0), _NUMBER_ONLY]
AtLeastOne = Annotated[int, Field(ge=1), _NUMBER_ONLY]
Decimals = Annotated[int, Field(ge=-1, le=15), _NUMBER_ONLY]
Jobs = Annotated[int, Field(ge=-1, json_schema_extra={"not": {"const": 0}}), AfterValidator(_some_jobs), _NUMBER_ONLY]
Share = Annotated[float, Field(ge=0, le=1), _NUMBER_ONLY]
OptionalShare = Annotated[Share | None, _OPTIONAL]
Positive = Annotated[float, Field(gt=0), _NUMBER_ONLY]
Number = Annotated[float, _NUMBER_ONLY]
TextList = Annotated[tuple[str, ...], _LIST_INPUT]
MethodList = Annotated[tuple[str, ...], _LIST_INPUT, AfterValidator(_lower_names)]
AddressList = Annotated[tuple[str, ...], _LIST_INPUT, AfterValidator(check_addresses)]
MetricList = Annotated[tuple[str, ...], _LIST_INPUT, AfterValidator(strip_quotes)]
MetricTags = Annotated[dict[str, dict[str, str]], BeforeValidator(nothing_is_empty), BeforeValidator(_tags_as_text)]
TagMap = Annotated[dict[str, str], BeforeValidator(nothing_is_empty), BeforeValidator(_values_as_text)]
Parameters = Annotated[dict[str, JsonValue], BeforeValidator(nothing_is_empty)]
Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": ["string", "number"], "format": "anomstack-duration", "examples": ["90m", "2h", "1d"]}),
]
Moment = Annotated[
    datetime,
    BeforeValidator(parse_moment),
    WithJsonSchema(
        {
            "type": "string",
            "format": "anomstack-moment",
            "examples": ["2024-01-31", "2024-01-31T06:00:00+00:00"],
        }
    ),
]
OptionalMoment = Annotated[Moment | None, _OPTIONAL]
Cron = Annotated[
    str,
    AfterValidator(check_cron),
    WithJsonSchema({"type": "string", "format": "anomstack-cron", "examples": ["0 6 * * *", "@daily"]}),
]
OptionalCron = Annotated[Cron | None, _OPTIONAL]
Timezone = Annotated[
    str,
    AfterValidator(check_timezone),
    WithJsonSchema({"type": "string", "format": "anomstack-timezone", "examples": ["UTC", "Europe/Berlin"]}),
]
Grain = Annotated[
    str,
    AfterValidator(check_grain),
    WithJsonSchema(
        {
            "type": "string",
            "format": "anomstack-grain",
            "pattern": f"^(instant|{_GRAIN.pattern})$",
            "examples": ["15min", "1h", "1d"],
        }
    ),
]
OptionalGrain = Annotated[Grain | None, _OPTIONAL]
OptionalQuietHours = Annotated[
    Annotated[
        str,
        AfterValidator(check_quiet_hours),
        WithJsonSchema(
            {
                "type": "string",
                "format": "anomstack-quiet-hours",
                "pattern": rf"^\s*{_CLOCK.pattern}\s*-\s*{_CLOCK.pattern}\s*$",
                "examples": ["22:00-07:00"],
            }
        ),
    ]
    | None,
    _OPTIONAL,
]
OptionalFreq = Annotated[Annotated[str, AfterValidator(check_freq)] | None, _OPTIONAL]
Status = Annotated[
    Literal["STOPPED", "RUNNING"] | None,
    BeforeValidator(_upper),
    WithJsonSchema({"enum": ["STOPPED", "RUNNING", None]}),
]
