"""
A seeded generator of business metrics with labelled anomalies: what the series of a dashboard look like.

A series is ``level x trend x day x week x holiday x noise``; a count is drawn from it, a rate stays below one.
Anomalies multiply a stretch of it (spike, dip, level shift, drift), hold it (flat line) or shift its seasons (season
break), at sizes told in units of the series' own noise. Holidays, missing buckets and heavy tails are normal and not
labelled. Each series depends on the seed and its own name alone, so a sample of the series is a part of the whole set.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.detection.dataset import Dataset, Label, tidy

Floats = NDArray[np.float64]
Span = tuple[int, int]  # first and last bucket, both included

SEEDS = {"dev": 20_130_208, "test": 19_991_231}
FAMILIES = ("revenue", "traffic", "counts_low", "rate", "latency", "gauge")
REPLICATES = 8
_HOLIDAYS_PER_YEAR = 10
# No event multiplies or divides a value by more than about twenty.
_LARGEST = 3.0


@dataclass(frozen=True)
class Grain:
    """How long series of a grain are and how long what happens to them lasts, in buckets."""

    seconds: int
    per_day: int
    days: int
    lead_days: int
    recovery_days: int  # not judged after an event
    apart_days: int  # from the end of one event to the start of the next, at least
    durations: dict[str, Span]


GRAINS = {
    "hourly": Grain(
        3600,
        24,
        days=120,
        lead_days=28,
        recovery_days=2,
        apart_days=4,
        durations={
            "spike": (1, 3),
            "dip": (1, 6),
            "level": (36, 96),
            "flat": (8, 30),
            "season": (24, 60),
            "drift": (72, 144),
        },
    ),
    "daily": Grain(
        86_400,
        1,
        days=730,
        lead_days=180,
        recovery_days=3,
        apart_days=45,
        durations={
            "spike": (1, 2),
            "dip": (1, 2),
            "level": (5, 14),
            "flat": (4, 8),
            "season": (7, 14),
            "drift": (10, 24),
        },
    ),
}


@dataclass(frozen=True)
class Family:
    """Ranges that the properties of a family's series are drawn from."""

    level: tuple[float, float]  # drawn log-uniformly
    noise: tuple[float, float]  # standard deviation of the logarithm
    memory: tuple[float, float]  # autocorrelation of the noise from hour to hour
    day_ratio: tuple[float, float]  # busiest over quietest hour
    week_ratio: tuple[float, float]  # busiest over quietest day
    trend: float  # at most so much up or down over the whole series, as a logarithm
    heavy: bool = False  # noise with the tails of Student's t with 4 degrees of freedom
    is_count: bool = False
    is_rate: bool = False


_FAMILY = {
    "revenue": Family((30, 1e6), (0.07, 0.18), (0.3, 0.7), (1.7, 5.0), (1.3, 2.3), 0.35),
    "traffic": Family((60, 8e5), (0.04, 0.10), (0.3, 0.8), (2.5, 6.0), (1.2, 2.5), 0.35, is_count=True),
    "counts_low": Family((1.0, 9.0), (0.02, 0.10), (0.2, 0.5), (1.3, 3.5), (1.1, 2.2), 0.2, is_count=True),
    "rate": Family((0.06, 0.6), (0.05, 0.10), (0.1, 0.4), (1.1, 1.4), (1.05, 1.2), 0.1, is_rate=True),
    "latency": Family((80, 9e5), (0.10, 0.22), (0.2, 0.6), (1.3, 2.0), (1.05, 1.5), 0.15, heavy=True),
    "gauge": Family((500, 8e5), (0.06, 0.14), (0.85, 0.95), (1.1, 1.3), (1.02, 1.15), 0.2),
}


@dataclass(frozen=True)
class _Parts:
    """One series as logarithms, before counting and rounding; every array has one element per bucket."""

    level: Floats  # base and trend
    season: Floats
    noise: Floats
    sigma: float  # a usual departure of one bucket from what is expected, the counting noise included


def generate(grain_name: Literal["hourly", "daily"], part: Literal["dev", "test"] = "dev") -> Dataset:
    """Return eight series of each family. The dates of the holidays are those of the set."""
    grain, seed = GRAINS[grain_name], SEEDS[part]
    holidays = _holidays(seed, grain_name)
    frames, labels = [], {}
    for family in FAMILIES:
        for replicate in range(REPLICATES):
            name = f"{grain_name[0]}_{family}_{replicate}"
            frame, labels[name] = _series(grain, family, seed, name, _start(seed, grain_name, replicate), holidays)
            frames.append(frame)
    return Dataset(f"synthetic {grain_name} {part}", tidy(pd.concat(frames, ignore_index=True)), labels)


def _rng(seed: int, *words: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32("/".join(words).encode())])


def _start(seed: int, grain_name: str, replicate: int) -> pd.Timestamp:
    """Return a first day; the replicates of all families share it, as the metrics of one batch do."""
    days = _rng(seed, grain_name, "start", str(replicate)).integers(0, 300)
    return pd.Timestamp("2024-01-01") + pd.Timedelta(days=int(days))


def _holidays(seed: int, grain_name: str) -> dict[tuple[int, int], float]:
    """Return the strength of each holiday by month and day: most close shops, some fill them."""
    rng = _rng(seed, grain_name, "holidays")
    days = rng.choice(365, _HOLIDAYS_PER_YEAR, replace=False)
    strengths = rng.uniform(0.5, 1.0, _HOLIDAYS_PER_YEAR) * rng.choice([-1, 1], _HOLIDAYS_PER_YEAR, p=[0.8, 0.2])
    dates = pd.Timestamp("2025-01-01") + pd.to_timedelta(days, unit="D")
    return {(date.month, date.day): float(s) for date, s in zip(dates, strengths, strict=True)}


def _series(
    grain: Grain, family_name: str, seed: int, name: str, start: pd.Timestamp, holidays: dict[tuple[int, int], float]
) -> tuple[pd.DataFrame, Label]:
    rng = _rng(seed, name)
    family = _FAMILY[family_name]
    buckets = grain.days * grain.per_day
    times = pd.date_range(start, periods=buckets, freq=pd.Timedelta(seconds=grain.seconds))
    parts = _parts(rng, grain, family, times, holidays)
    spans = _place(rng, grain, parts)
    log_mean = parts.level + parts.season + parts.noise
    for kind, span in spans:
        _distort(rng, grain, kind, span, parts, log_mean)
    values = _observe(rng, family, log_mean)
    for kind, (first, last) in spans:
        if kind == "flat":
            # A job that repeats its last result, or one that finds nothing.
            values[first : last + 1] = 0.0 if rng.random() < 0.3 else values[first - 1]
    kept = ~_missing(rng, buckets)
    frame = pd.DataFrame({"series": name, "timestamp": times[kept], "value": values[kept]})
    return frame, _label(grain, family_name, times, spans)


def _parts(
    rng: np.random.Generator,
    grain: Grain,
    family: Family,
    times: pd.DatetimeIndex,
    holidays: dict[tuple[int, int], float],
) -> _Parts:
    base = np.log(family.level[0]) + rng.uniform() * np.log(family.level[1] / family.level[0])
    along = np.linspace(0, 1, len(times))
    trend = rng.uniform(-family.trend, family.trend) * along
    year = 0.1 * rng.uniform() * np.sin(2 * np.pi * (times.day_of_year.to_numpy() / 365 + rng.uniform()))
    week = _week_shape(rng, rng.uniform(*family.week_ratio))[times.day_of_week.to_numpy()]
    day = np.zeros(len(times))
    if grain.per_day > 1:
        shape = _day_shape(rng, np.log(rng.uniform(*family.day_ratio)))
        # People get up later at weekends.
        hours = (times.hour.to_numpy() - np.where(times.day_of_week.to_numpy() >= 5, 1, 0)) % 24
        day = shape[hours]
    # A rate or a latency hardly notices that the shops are closed.
    depth = rng.uniform(0.15, 0.45) if not (family.is_rate or family.heavy) else rng.uniform(0.0, 0.1)
    strengths = [holidays.get((date.month, date.day), 0.0) for date in times.normalize().unique()]
    holiday = depth * np.repeat(strengths, grain.per_day)
    sigma, memory = rng.uniform(*family.noise), rng.uniform(*family.memory)
    noise = _noise(rng, len(times), sigma, memory if grain.per_day > 1 else memory / 2, family.heavy)
    counting = float(np.exp(-base / 2)) if family.is_count else 0.0
    return _Parts(base + trend + year, week + day + holiday, noise, float(np.hypot(sigma, counting)))


def _week_shape(rng: np.random.Generator, ratio: float) -> Floats:
    """Return a logarithm per weekday, Monday first: weekends are quiet for one series and busy for another."""
    weekend = np.array([0.0, 0.02, 0.03, 0.02, 0.05, -0.85, -1.0])
    shape = weekend * (1.0 if rng.random() < 0.75 else -1.0) + rng.normal(0, 0.06, 7)
    return _spread(shape, np.log(ratio))


def _day_shape(rng: np.random.Generator, height: float) -> Floats:
    """Return a logarithm per hour: two humps and a quiet night."""
    hours = np.arange(24)
    first, second = rng.uniform(9, 13), rng.uniform(16, 21)

    def hump(peak: float, width: float) -> Floats:
        apart = np.abs((hours - peak + 12) % 24 - 12)
        return np.asarray(np.exp(-0.5 * (apart / width) ** 2))

    return _spread(hump(first, 3.0) + rng.uniform(0.5, 1.2) * hump(second, 3.0), height)


def _spread(shape: Floats, height: float) -> Floats:
    """Return the shape stretched so that its highest lies ``height`` above its lowest, around zero."""
    return np.asarray((shape - shape.mean()) * (height / np.ptp(shape)))


def _noise(rng: np.random.Generator, count: int, sigma: float, memory: float, heavy: bool) -> Floats:
    """Return autoregressive noise of order one with standard deviation ``sigma``."""
    shocks = rng.standard_t(4, count) / np.sqrt(2) if heavy else rng.normal(size=count)
    shocks *= sigma * np.sqrt(1 - memory**2)
    noise = np.empty(count)
    noise[0] = rng.normal(0, sigma)
    for i in range(1, count):
        noise[i] = memory * noise[i - 1] + shocks[i]
    return noise


def _place(rng: np.random.Generator, grain: Grain, parts: _Parts) -> list[tuple[str, Span]]:
    """Return three to six events after the lead, each far from the next."""
    kinds = rng.permutation(list(grain.durations))[: rng.integers(3, 7)].tolist()
    kinds += rng.choice(list(grain.durations), max(0, 3 - len(kinds))).tolist()
    apart, buckets = grain.apart_days * grain.per_day, len(parts.level)
    # A season that drowns in the noise cannot break.
    seen = float(np.std(parts.season)) > parts.sigma
    kinds = [kind if kind != "season" or seen else "level" for kind in kinds]
    lengths = [int(rng.integers(grain.durations[kind][0], grain.durations[kind][1] + 1)) for kind in kinds]
    first = grain.lead_days * grain.per_day + apart // 4
    slack = buckets - first - sum(lengths) - apart * len(lengths)
    waits = np.diff(np.sort(rng.integers(0, slack + 1, len(kinds))), prepend=0)
    spans, begin = [], first
    for kind, length, wait in zip(kinds, lengths, waits, strict=True):
        begin += int(wait)
        spans.append((kind, (begin, begin + length - 1)))
        begin += length + apart
    return spans


def _distort(rng: np.random.Generator, grain: Grain, kind: str, span: Span, parts: _Parts, log_mean: Floats) -> None:
    """Put an event into ``log_mean``. Sizes are multiples of the series' own noise, within what can be seen at all."""
    first, last = span
    here = slice(first, last + 1)
    length = last - first + 1
    sign = 1.0 if rng.random() < 0.5 else -1.0
    if kind == "spike":
        log_mean[here] += np.clip(rng.uniform(4, 9) * parts.sigma, 0.3, _LARGEST)
    elif kind == "dip":
        log_mean[here] -= np.clip(rng.uniform(4, 9) * parts.sigma, 0.3, _LARGEST)
    elif kind == "level":
        log_mean[here] += sign * np.clip(rng.uniform(2.5, 5) * parts.sigma, 0.2, _LARGEST)
    elif kind == "drift":
        log_mean[here] += (
            sign * np.clip(rng.uniform(4, 8) * parts.sigma, 0.3, _LARGEST) * np.arange(1, length + 1) / length
        )
    elif kind == "season":
        # Half a day, or half a week, out of step.
        shift = grain.per_day // 2 if grain.per_day > 1 else 3
        log_mean[here] += parts.season[np.arange(first, last + 1) - shift] - parts.season[here]


def _observe(rng: np.random.Generator, family: Family, log_mean: Floats) -> Floats:
    """Return values as a dashboard shows them: counts are whole, rates below one, others have six digits."""
    mean = np.exp(log_mean)
    if family.is_count:
        return rng.poisson(mean).astype(np.float64)
    if family.is_rate:
        mean = np.minimum(mean, 1.0)
    digits = 5 - np.floor(np.log10(np.maximum(mean, 1e-12))).astype(int)
    scale = 10.0**digits
    return np.asarray(np.round(mean * scale) / scale)


def _missing(rng: np.random.Generator, buckets: int) -> NDArray[np.bool_]:
    """Return which buckets never arrived: none for half of the series, else up to 3 %, some of them in runs."""
    if rng.random() < 0.5:
        return np.zeros(buckets, bool)
    gone = rng.random(buckets) < rng.uniform(0.001, 0.02)
    for begin in rng.integers(0, buckets, rng.integers(0, 4)):
        gone[begin : begin + rng.integers(2, max(3, buckets // 300))] = True
    gone[[0, -1]] = False  # series of a batch begin and end together
    return gone


def _label(grain: Grain, family: str, times: pd.DatetimeIndex, spans: list[tuple[str, Span]]) -> Label:
    recovery = pd.Timedelta(days=grain.recovery_days)

    def text(moment: pd.Timestamp) -> str:
        return moment.isoformat()

    return {
        "step_s": float(grain.seconds),
        "score_from": text(times[grain.lead_days * grain.per_day]),
        "family": family,
        "events": [[text(times[first]), text(times[last]), kind] for kind, (first, last) in spans],
        "ignore": [[text(times[first]), text(times[last] + recovery)] for _, (first, last) in spans],
    }
