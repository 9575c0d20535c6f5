"""Cron texts: what is accepted, and what cron really makes of it where that is not what it looks like."""

from __future__ import annotations

import re
from functools import lru_cache

# Airflow's presets and the two further names that cron itself knows.
PRESETS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@quarterly": "0 0 1 */3 *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

# Name of the field, its first value, the number of its values.
_FIELDS = (("minute", 0, 60), ("hour", 0, 24), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7))
_STEP = re.compile(r"\*/(\d+)")


def cron_expression(text: str) -> str:
    """Return the five fields of a preset such as ``@daily``; any other text with single spaces."""
    return PRESETS.get(text.strip().lower()) or " ".join(text.split())


@lru_cache(maxsize=4096)
def check_cron(text: str) -> str:
    """
    Return ``text`` unchanged if it is a cron that comes due again and again.

    :raises ValueError: for anything else, with what to write instead.
    """
    # Airflow has this module loaded already; a plain Python process pays for it only if a batch sets a cron.
    from croniter import CroniterBadDateError, CroniterError, croniter

    expression = cron_expression(text)
    if expression.startswith("@"):
        raise ValueError(
            f"unknown preset '{text}'; known are {', '.join(PRESETS)}, or write a cron such as '0 6 * * *'"
        )
    if len(expression.split(" ")) != 5:
        raise ValueError(
            f"'{text}' is not a cron; write five fields, minute hour day month weekday, such as '0 6 * * *'"
        )
    if re.search(r"\b[RrHh]\b|\b[RrHh]\(", expression):
        raise ValueError(f"'{text}' draws a time by chance; write the minutes and hours themselves")
    try:
        croniter(expression, 0.0).get_next(float)
    except CroniterBadDateError:
        raise ValueError(f"'{text}' never comes due; no calendar has such a day") from None
    except (CroniterError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        reason = str(error).replace(expression, "").strip(" []'")
        raise ValueError(
            f"'{text}' is not a cron ({reason}); write minute hour day month weekday, such as '0 6 * * *'"
        ) from None
    return text


def step_warning(text: str) -> str | None:
    """Say what cron makes of a step that does not divide its field, such as ``*/180`` minutes; else None."""
    parts = cron_expression(text).split(" ")
    for position, (part, (unit, first, size)) in enumerate(zip(parts, _FIELDS, strict=False)):
        match = _STEP.fullmatch(part)
        step = int(match[1]) if match else 0
        if step == size and position < 2:
            continue  # */60 minutes and */24 hours are every hour and every day, just as they look
        if step >= size:
            real = " ".join([*parts[:position], str(first), *parts[position + 1 :]])
            not_so = f"{unit} {first} only, not every {step} {unit}s"
            return f"'{text}' is '{real}' to cron: {not_so}{_better(parts, step)}"
        if step and size % step and position < 2:
            values = list(range(first, first + size, step))
            listed = f"{', '.join(map(str, values[:-1]))} and {values[-1]}"
            gap = first + size - values[-1]
            return f"'{text}' is {unit}s {listed} to cron, and then {gap} {unit}s later {unit} {first} again"
    return None


def meant(text: str) -> str | None:
    """Return what a step of hours in minutes looks like: ``0 */3 * * *`` for ``*/180 * * * *``; else None."""
    parts = cron_expression(text).split(" ")
    match = _STEP.fullmatch(parts[0])
    hours, rest = divmod(int(match[1]), 60) if match else (0, 0)
    if hours < 2 or parts[1:] != ["*"] * 4 or rest or 24 % hours:
        return None
    return "0 0 * * *" if hours == 24 else f"0 */{hours} * * *"


def _better(parts: list[str], minutes: int) -> str:
    """Return how to write a step of so many minutes in hours, where cron can say it."""
    written = meant(" ".join(parts))
    return f"; for every {minutes // 60} hours write '{written}'" if written else ""
