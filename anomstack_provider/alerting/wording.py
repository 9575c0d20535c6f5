"""Words and numbers for people: how messages and charts write a name, a number and a distance.

Plain text only; what has to be escaped is escaped where it is laid out (see ``message`` and ``chart``). Times and
buckets are in ``buckets``.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence

_LARGE = ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"))
_MULTIPLES_FROM = 4  # "6 times" is read faster than "500 % above"
# From inside a name they could turn the rest of the line around, so a name brings none of its own.
_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
FIRST_STRONG_ISOLATE, POP_ISOLATE = "\u2068", "\u2069"
_JOINERS = frozenset("\u200d\ufe0e\ufe0f")


def one_line(text: str) -> str:
    """Return the text on one line: control characters and line ends become a space."""
    kept = (" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text if c not in _BIDI_CONTROLS)
    return " ".join("".join(kept).encode("utf-8", "replace").decode().split())


def elide(text: str, limit: int) -> str:
    """Return at most ``limit`` characters, the middle left out: names of a batch differ at either end."""
    if len(text) <= limit:
        return text
    head, tail = text[: (limit - 1) // 2 + (limit - 1) % 2], text[len(text) - (limit - 1) // 2 :]
    # An accent, skin tone or joined emoji is not torn from the character that it belongs to.
    while tail and (unicodedata.combining(tail[0]) or tail[0] in _JOINERS):
        tail = tail[1:]
    while head and head[-1] in _JOINERS:
        head = head[:-1]
    return f"{head.rstrip()}…{tail.lstrip()}"


def isolated(text: str) -> str:
    """Return the text so that a right-to-left one does not pull the numbers behind it to its other side."""
    if any(unicodedata.bidirectional(c) in ("R", "AL") for c in text):
        return f"{FIRST_STRONG_ISOLATE}{text}{POP_ISOLATE}"
    return text


def without_isolates(text: str) -> str:
    """Undo :func:`isolated`, for a place that has its own means (``<bdi>``) or draws the marks as boxes."""
    return text.replace(FIRST_STRONG_ISOLATE, "").replace(POP_ISOLATE, "")


def number(value: float, digits: int = 3) -> str:
    """Return a number with at least ``digits`` significant digits: 0.123, 12,345, 1.23 million, 4.5e-7."""
    if not math.isfinite(value):
        return "no value" if math.isnan(value) else ("infinite" if value > 0 else "minus infinite")
    if value == 0:
        return "0"
    rounded = abs(float(f"{value:.{digits - 1}e}"))
    if rounded >= 1e15 or rounded < 1e-4:
        mantissa, _, exponent = f"{value:.{digits}g}".partition("e")
        return f"{mantissa}e{int(exponent)}"
    if rounded >= 1e6:
        size, word = next((size, word) for size, word in _LARGE if rounded >= size)
        return f"{_plain(value / size, digits)} {word}"
    return _plain(value, digits)


def _plain(value: float, digits: int) -> str:
    """Write a number of moderate size: the whole part in full, then as many decimals as make ``digits``."""
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def numbers(*values: float) -> list[str]:
    """Return all numbers with as many digits (3 to 6) as it takes to tell apart those that differ."""
    for digits in range(3, 7):
        texts = [number(value, digits) for value in values]
        if len(set(texts)) == len(set(values)):
            return texts
    return [number(value) for value in values]


def known(value: float | None) -> float | None:
    """Return the value unless it is no number."""
    return None if value is None or math.isnan(value) else value


def amount(value: float, unit: str = "") -> str:
    """Return a number with its unit: 1,161 EUR."""
    return _with_unit(number(value), unit)


def _with_unit(text: str, unit: str) -> str:
    return f"{text} {unit}" if unit else text


def unit_text(unit: str | None) -> str:
    """Return a configured unit as it is shown behind a number."""
    return isolated(elide(one_line(unit or ""), 20))


def share(value: float, expected: float) -> str | None:
    """Say how far a value is from the expected one, ``42 % below`` or ``12 times``; None where neither tells it."""
    difference = value - expected
    if expected == 0 or difference == 0 or not math.isfinite(difference):
        return None
    if value / expected >= _MULTIPLES_FROM and expected > 0:
        return f"{number(value / expected, 2)} times"
    percent = abs(difference / expected) * 100
    return f"{_percent(percent)} {'above' if difference > 0 else 'below'}" if 0.1 <= percent < 1000 else None


def distance(value: float, expected: float, base: str = "expected", unit: str = "") -> str:
    """Say how far a value is from the expected one: in percent or multiples, else in its own unit."""
    if value == expected:
        return "as expected" if base == "expected" else f"at {base}"
    if said := share(value, expected):
        return f"{said} {base}"
    side = "above" if value > expected else "below"
    return f"{amount(abs(value - expected), unit)} {side} {base} {number(expected)}"


def _percent(percent: float) -> str:
    """Return a percentage of at least 0.1 with two digits; never rounded to a 100 that it is not."""
    if 99.5 <= percent < 100:
        return "over 99 %"
    return f"{number(percent, 2)} %"


def tag_text(tags: Sequence[tuple[str, str]], limit: int = 20) -> str:
    """Return tags as ``airport: LGA, unit: share``; of more than ``limit`` the rest is counted."""
    shown = [isolated(elide(f"{one_line(key)}: {one_line(value)}", 120)) for key, value in tags[:limit]]
    return ", ".join(shown) + (f" and {len(tags) - limit} more" if len(tags) > limit else "")
