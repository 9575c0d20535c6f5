"""Text inside a chart: fonts with a fall-back, letters that no font has, numbers along an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from anomstack_provider.alerting.wording import FIRST_STRONG_ISOLATE, POP_ISOLATE, number

if TYPE_CHECKING:
    from matplotlib.font_manager import FontProperties

# The first ships with matplotlib; the others are used where the machine has them, for scripts that it lacks.
_FAMILIES = (
    "DejaVu Sans",
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans",
    "Arial Unicode MS",
    "Microsoft YaHei",
)
_STAND_IN = "▯"
_LEFT_TO_RIGHT_MARK = "\u200e"
_INVISIBLE = frozenset("\u200b\u200c\u200d\u2060\ufe0e\ufe0f\ufeff")
# From where on, in which unit, and its letter; four digits are read as easily as a "k".
_UNITS = ((1e12, 1e12, "T"), (1e9, 1e9, "B"), (1e6, 1e6, "M"), (1e4, 1e3, "k"))


@lru_cache(maxsize=1)
def _installed() -> tuple[str, ...]:
    """Return the families that matplotlib can find here; asking for another one would warn on every draw."""
    from matplotlib.font_manager import fontManager

    found = {entry.name for entry in fontManager.ttflist}
    return tuple(family for family in _FAMILIES if family in found) or ("sans-serif",)


@lru_cache(maxsize=1)
def _letters() -> frozenset[int]:
    """Return the code points that one of the installed families can draw, in regular and bold alike."""
    from matplotlib.font_manager import FontProperties, fontManager, get_font

    covered: set[int] = set()
    for family in _installed():
        weights = (
            get_font(fontManager.findfont(FontProperties(family=[family], weight=w))) for w in ("normal", "bold")
        )
        covered |= set.intersection(*(set(face.get_charmap()) for face in weights))
    return frozenset(covered)


def font(size: float, *, bold: bool = False) -> FontProperties:
    """Return the chart's font in points, whatever a user's matplotlib settings say."""
    from matplotlib.font_manager import FontProperties

    return FontProperties(family=list(_installed()), size=size, weight="bold" if bold else "normal")


def drawable(text: str) -> str:
    """
    Return the text with a stand-in for every letter that no font here has; joiners of emoji are left out.

    The isolates around a right-to-left name, which no font draws, become a left-to-right mark behind it: that
    keeps the numbers that follow on their side.
    """
    marked = text.replace(FIRST_STRONG_ISOLATE, "").replace(POP_ISOLATE, _LEFT_TO_RIGHT_MARK)
    return "".join(c if ord(c) in _letters() else _STAND_IN for c in marked if c not in _INVISIBLE)


@dataclass(frozen=True)
class Scale:
    """How numbers are written beside an axis: the unit ``size``, its ``suffix``, the decimals."""

    size: float
    suffix: str
    decimals: int
    scientific: bool = False

    @classmethod
    def of(cls, ticks: Sequence[float]) -> Scale:
        """Return the unit that suits the largest of evenly spaced ticks, and the decimals for their step."""
        largest, step = (
            max((abs(tick) for tick in ticks), default=0.0),
            ticks[1] - ticks[0] if len(ticks) > 1 else 1.0,
        )
        if largest >= 1e15 or 0 < largest < 1e-4:
            return cls(1.0, "", 0, scientific=True)
        size, suffix = next(((size, suffix) for least, size, suffix in _UNITS if largest >= least), (1.0, ""))
        if (decimals := _decimals(step / size)) > 3:
            # Ticks that lie closer together than the unit shows are written out.
            size, suffix, decimals = 1.0, "", _decimals(step)
        return cls(size, suffix, decimals)

    def tick(self, value: float) -> str:
        """Return the label of a tick."""
        if value == 0 or self.scientific:
            return number(value)
        return f"{value / self.size:,.{self.decimals}f}{self.suffix}"

    def value(self, value: float) -> str:
        """Return the label of a point: finer than the ticks, with three digits at least."""
        if value == 0 or self.scientific:
            return number(value)
        scaled = value / self.size
        decimals = max(2 - math.floor(math.log10(abs(scaled))), self.decimals + 1 if self.decimals else 0)
        text = f"{scaled:,.{min(max(decimals, 0), 12)}f}"
        return (text.rstrip("0").rstrip(".") if "." in text else text) + self.suffix


def _decimals(step: float) -> int:
    """Return how many decimals it takes to write a step; 12 at most."""
    return next((n for n in range(12) if math.isclose(step, round(step, n), rel_tol=1e-6)), 12)
