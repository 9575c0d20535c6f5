"""Charts of all kinds of series, judged by their pixels; ``CHARTS=folder`` keeps them to be looked at."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageColor

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.config.about import About
from anomstack_provider.messages import chart_text
from anomstack_provider.messages.chart import DPI, SIZE, ChartData, draw, figure
from anomstack_provider.messages.chart_layout import BLUE, INK, RED, add_panel, label_time_axis
from anomstack_provider.messages.chart_text import Scale, drawable

DAY, HOUR = np.timedelta64(86_400_000_000, "us"), np.timedelta64(3_600_000_000, "us")
LAST = np.datetime64("2013-02-08T05:00", "us")
NEW_YORK = "America/New_York"


def series(
    points: int = 60,
    *,
    step: np.timedelta64 = DAY,
    scale: float = 1.0,
    offset: float = 0.0,
    jump: float = 1.6,
    fired: int = 1,
    noise: float = 0.05,
) -> ChartData:
    """A weekly wave with a band; its newest ``fired`` points lie ``jump`` above it."""
    random = np.random.default_rng(7)
    times = LAST - np.arange(points)[::-1] * step
    expected = offset + scale * (1 + 0.3 * np.sin(np.arange(points) * 2 * np.pi / 7))
    values = expected + scale * noise * random.standard_normal(points)
    if fired:
        values[-fired:] = expected[-fired:] + scale * jump
    band = 0.2 * abs(scale)
    return ChartData(times, values, times[points - fired :], expected, expected - band, expected + band)


def without(data: ChartData, *gone: int) -> ChartData:
    """The same series without some of its buckets."""
    kept = ~np.isin(np.arange(len(data.times)), gone)
    names = ("times", "values", "expected", "lower", "upper")
    return replace(data, **{name: getattr(data, name)[kept] for name in names})


def after_a_week(data: ChartData, season: int = 7, name: str = "week before") -> ChartData:
    """The same series with its newest season before the newest laid over it."""
    return replace(data, season_times=data.times[-season:], season=data.values[-2 * season : -season], season_name=name)


def hourly(points: int = 100, **changes: Any) -> ChartData:
    """Hours with a daily wave, a week before laid over the whole."""
    data = series(points, step=HOUR, **changes)
    wave = 2000 + 900 * np.sin(np.arange(points) * np.pi / 12)
    noise = 40 * np.random.default_rng(3).standard_normal((2, points))
    values = wave + noise[0]
    fired = np.isin(data.times, data.fired)
    values[fired] *= 0.55
    band = {"expected": wave, "lower": wave - 180, "upper": wave + 180}
    return replace(
        data, values=values, **band, season_times=data.times, season=wave + noise[1], season_name="week before"
    )


def at(position: int, data: ChartData) -> datetime:
    moment: datetime = data.times[position].item()
    return moment.replace(tzinfo=UTC)


def day(text: str, name: str, days: int = 1) -> tuple[np.datetime64, np.datetime64, str]:
    start = np.datetime64(text, "us") + np.timedelta64(5, "h")
    return start, start + days * DAY, name


ORDINARY = after_a_week(series())
EMPTY = np.array([], "datetime64[us]")
NOTHING = np.full(60, np.nan)
RANDOM = np.random.default_rng(5)
STEPS_ODD = LAST - np.sort(RANDOM.integers(0, 5 * 86_400, 40))[::-1] * np.timedelta64(1_000_000, "us")
NOISE = RANDOM.standard_normal(500)
FEW = hourly(fired=4)
ENDED = hourly(fired=0)
ENDED = replace(ENDED, times=FEW.times + 6 * HOUR, fired=FEW.times[-9:-5] + 6 * HOUR, season_times=FEW.times + 6 * HOUR)
ENDED.values[-9:-5] *= 0.5
GAP = replace(without(hourly(fired=0), *range(93, 100)), season_times=hourly().times, season=hourly().season)
MONTHS = np.arange("2009-01", "2013-01", dtype="datetime64[M]").astype("datetime64[us]") + 5 * HOUR
MONTHLY = after_a_week(replace(series(48), times=MONTHS, fired=MONTHS[-1:]), 12, "year before")
SHIFTED = replace(ORDINARY, values=np.where(np.arange(60) < 48, ORDINARY.values, 2 + 0.1 * ORDINARY.values))
HOURLY: dict[str, Any] = {
    "metric_batch": "web",
    "metric_name": "orders",
    "grain": "1h",
    "direction": "down",
    "value": 1161.0,
    "expected": 2001.7,
    "lower": 1800.0,
    "upper": 2200.4,
}

CASES: dict[str, tuple[dict[str, Any], ChartData]] = {
    "ordinary": ({}, without(ORDINARY, 20, 21, 22, 40)),
    "hourly": (HOURLY, hourly()),
    "escalated": (
        HOURLY | {"transition": "escalated", "first_bucket": at(-4, FEW), "last_bucket": at(-1, FEW), "fired": 4},
        FEW,
    ),
    "closed": (
        HOURLY
        | {"transition": "closed", "first_bucket": at(-9, ENDED), "last_bucket": at(-6, ENDED), "fired": 4}
        | {"bucket": at(-1, ENDED), "peak_bucket": at(-7, ENDED), "peak_value": 1161.0, "peak_expected": 2001.7},
        ENDED,
    ),
    "late": (
        HOURLY
        | {"kind": "late", "direction": "none", "value": None, "expected": None, "lower": None, "upper": None}
        | {"score": None, "threshold": None, "first_bucket": at(93, hourly()), "last_bucket": at(-1, hourly())},
        replace(GAP, fired=EMPTY),
    ),
    "late_batch": (
        HOURLY
        | {"kind": "late", "direction": "none", "value": None, "expected": None, "lower": None, "upper": None}
        | {"first_bucket": at(93, hourly()), "last_bucket": at(-1, hourly()), "metrics": ("orders", "visits")},
        replace(GAP, fired=EMPTY, name="orders"),
    ),
    "late_never_any": (
        {"kind": "late", "direction": "none", "value": None, "expected": None, "score": None},
        ChartData(EMPTY, NOTHING[:0], EMPTY),
    ),
    "threshold": (
        HOURLY
        | {"kind": "threshold", "direction": "down", "value": 1060.0, "lower": 1100.0, "upper": None}
        | {"score": None, "expected": None},
        hourly(),
    ),
    "threshold_both": (
        HOURLY
        | {"kind": "threshold", "direction": "up", "value": 2890.0, "lower": 1000.0, "upper": 2700.0}
        | {"score": None, "expected": None},
        replace(hourly(), fired=hourly().times[hourly().values > 2700]),
    ),
    "change": (
        {"kind": "change", "first_bucket": at(48, SHIFTED), "score": None},
        replace(SHIFTED, fired=SHIFTED.times[48:]),
    ),
    "holidays": (
        {},
        replace(
            ORDINARY,
            days=(
                day("2012-12-24", "Christmas Eve; Holiday: Christmas Day", 2),
                day("2013-01-01", "Holiday: New Year's Day"),
                day("2013-01-21", "Holiday: Martin Luther King Jr. Day"),
                day("2013-02-08", "blizzard"),
            ),
            training_start=np.datetime64("2012-12-20", "us"),
        ),
    ),
    "holidays_in_a_row": (
        {},
        replace(
            ORDINARY, days=tuple(day(str(t.astype("datetime64[D]")), f"Holiday: {t}") for t in ORDINARY.times[::3])
        ),
    ),
    "training_start": ({}, replace(ORDINARY, training_start=np.datetime64("2013-02-07", "us"))),
    "monthly": ({"grain": "1mo", "bucket": at(-1, MONTHLY)}, MONTHLY),
    "quiet": ({}, series(fired=0)),
    "all_null": ({"value": np.nan}, ChartData(ORDINARY.times, NOTHING, EMPTY)),
    "fired_without_value": ({"value": np.nan}, replace(ORDINARY, values=NOTHING)),
    "empty": ({}, ChartData(EMPTY, NOTHING[:0], EMPTY)),
    "one_point": ({}, series(1)),
    "two_points": ({}, series(2)),
    "constant": ({"value": 7.0}, replace(series(), values=np.full(60, 7.0), expected=np.full(60, 7.0))),
    "constant_zero": ({"value": 0.0}, ChartData(ORDINARY.times, np.zeros(60), EMPTY)),
    "trillions": ({"value": 2.6e12, "expected": 1e12}, series(scale=1e12)),
    "trillions_that_hardly_move": (
        {"value": 1e12 + 20, "expected": 1e12},
        series(scale=2, offset=1e12, jump=8),
    ),
    "beyond_trillions": ({"value": 2.6e200, "expected": 1e200}, series(scale=1e200)),
    "negative": (
        {"value": -1161.0, "expected": -561.0, "direction": "down"},
        series(scale=-300.0, offset=-300.0),
    ),
    "tiny": ({"value": 2.7e-7, "expected": 1.1e-7}, series(scale=1e-7)),
    "a_thousand_times": ({"value": 1000.0, "expected": 1.0}, series(jump=1000)),
    "five_hundred_points": ({"grain": "1h"}, hourly(500, fired=3)),
    "noise": (
        {"grain": "1h"},
        replace(
            series(500, step=HOUR, fired=80),
            values=NOISE,
            lower=NOISE - RANDOM.random(500),
            upper=NOISE + RANDOM.random(500),
        ),
    ),
    "instant": ({"grain": "instant"}, replace(series(40), times=STEPS_ODD, fired=STEPS_ODD[-1:])),
    "wide_band": ({}, replace(ORDINARY, lower=np.full(60, -1e9), upper=np.full(60, 1e9))),
    "infinite_band": ({}, replace(ORDINARY, lower=np.full(60, -np.inf), upper=np.full(60, np.inf))),
    "long_names": (
        {"metric_name": "a_metric_with_a_long_name_" * 8, "metric_batch": "a batch " * 20},
        ORDINARY,
    ),
    "right_to_left": ({"metric_name": "מדד_الطلبات", "metric_batch": "עסקים"}, ORDINARY),
    "emoji_and_missing_letters": (
        {"metric_name": "sales 🚀👩‍💻 数量 \U0001f1e9\ue000\x07", "severity": "medium"},
        ORDINARY,
    ),
    "looks_like_mathtext": ({"metric_name": "$\\frac{1}{$ _^{ \\alpha", "severity": "low"}, ORDINARY),
}
ABOUT = {"hourly": About("Orders", "EUR"), "late": About("Orders", "EUR"), "right_to_left": About(unit="₪")}


def picture(png: bytes) -> np.ndarray[Any, Any]:
    """Return the pixels, shape (height, width, 3)."""
    image = Image.open(BytesIO(png))
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB")).astype(int)


def near(pixels: np.ndarray[Any, Any], colour: str, distance: int = 40) -> np.ndarray[Any, Any]:
    """Return which pixels have about this colour."""
    return np.asarray(np.abs(pixels - np.array(ImageColor.getrgb(colour)[:3])).max(axis=-1) <= distance)


@pytest.mark.parametrize("name", CASES)
def test_every_series_gives_a_chart_of_its_size(name: str, make_alert: Callable[..., Alert]) -> None:
    changes, data = CASES[name]
    draw(make_alert(), ORDINARY, timezone=NEW_YORK)  # loads fonts and libraries, once per process
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        started = time.process_time()
        png = draw(make_alert(**changes), data, timezone=NEW_YORK, about=ABOUT.get(name, About()))
        seconds = time.process_time() - started
    if folder := os.environ.get("CHARTS"):
        Path(folder, f"{name}.png").write_bytes(png)
    pixels = picture(png)
    assert pixels.shape == (SIZE[1] * DPI, SIZE[0] * DPI, 3)
    assert len(png) < 200_000
    assert seconds < 1
    # Nothing touches the edge: all text has room.
    for edge in (pixels[:, :3], pixels[:, -3:], pixels[:3], pixels[-3:]):
        assert (edge > 240).all()


@pytest.mark.parametrize("name", CASES)
def test_what_a_chart_says(name: str, make_alert: Callable[..., Alert], golden: Callable[[str, str], None]) -> None:
    """Every text in it, to the letter; none outside the picture, none on another."""
    from matplotlib.text import Text

    changes, data = CASES[name]
    canvas = figure(make_alert(**changes), data, timezone=NEW_YORK, about=ABOUT.get(name, About()))
    canvas.draw()
    shown = [text for text in canvas.figure.findobj(Text) if text.get_visible() and text.get_text()]
    boxes = [text.get_window_extent(canvas.get_renderer()) for text in shown]
    inside = [i for i, box in enumerate(boxes) if box.width and box.x0 > -1 and box.x1 < SIZE[0] * DPI + 1]
    # Where a long title is broken depends on the version of the font.
    said = [" ".join(shown[i].get_text().split("\n")) for i in inside]
    golden(f"charts/{name}.txt", "".join(f"{text}\n" for text in said))
    for i in inside:
        assert boxes[i].y0 >= 0
        assert boxes[i].y1 <= SIZE[1] * DPI
        touching = [j for j in inside if j > i and shrunk(boxes[i]).overlaps(shrunk(boxes[j]))]
        assert not touching, (shown[i], [shown[j] for j in touching])


@pytest.mark.parametrize("step", [HOUR, DAY, 7 * DAY], ids=["hours", "days", "weeks"])
def test_the_times_below_a_chart_are_never_on_each_other(step: np.timedelta64) -> None:
    """However long it is and wherever a month ends in it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.dates import date2num
    from matplotlib.figure import Figure

    for buckets in [3, 8, 13, 24, 40, 60, 90, 100, 110, 125]:
        for end in ["2026-03-01", "2026-04-10", "2026-05-31", "2026-09-03"]:
            last = np.datetime64(end, "us")
            canvas = FigureCanvasAgg(Figure(figsize=SIZE, dpi=DPI))
            axes = add_panel(canvas.figure)
            label_time_axis(axes, float(date2num(last - buckets * step)), float(date2num(last)), "UTC")
            canvas.draw()
            labels = [label for label in axes.get_xticklabels() if label.get_text()]
            boxes = [label.get_window_extent(canvas.get_renderer()) for label in labels]
            assert len(boxes) >= 2, (buckets, end)
            for k, (left, right) in enumerate(pairwise(boxes)):
                assert left.x1 + 4 < right.x0, (buckets, end, labels[k], labels[k + 1])


def shrunk(box: Any) -> Any:
    """The box without the empty room above and below its letters."""
    return box.padded(-2)


def test_a_machine_without_any_of_the_fonts_draws_all_the_same(
    make_alert: Callable[..., Alert], monkeypatch: pytest.MonkeyPatch
) -> None:
    caches: tuple[Any, ...] = (chart_text._installed, chart_text._letters)
    plain = draw(make_alert(), ORDINARY, timezone="UTC")
    for cache in caches:
        cache.cache_clear()
    monkeypatch.setattr(chart_text, "_FAMILIES", ("No Such Font",))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            without_font = draw(make_alert(), ORDINARY, timezone="UTC")
            assert drawable("orders") == "orders"
    finally:
        for cache in caches:
            cache.cache_clear()
    assert picture(without_font).shape == picture(plain).shape


def test_the_event_is_shaded_from_its_first_to_its_last_bucket(make_alert: Callable[..., Alert]) -> None:
    def underlined(**changes: Any) -> int:
        pixels = picture(draw(make_alert(**changes), series(fired=0), timezone="UTC"))
        return int(near(pixels[300:], RED, 12).any(axis=0).sum())

    one = underlined()
    ten = underlined(first_bucket=at(-10, ORDINARY))
    assert 8 <= one <= 25
    assert one * 9 <= ten <= one * 11


def test_bounds_are_drawn_for_threshold_alerts_in_place_of_the_band(make_alert: Callable[..., Alert]) -> None:
    changes, data = CASES["threshold"]
    pixels = picture(draw(make_alert(**changes), data, timezone="UTC"))
    rows = near(pixels[80:340, 60:800], BLUE, 30).sum(axis=1)
    assert rows.max() > 400  # one line across the panel
    assert (rows > 0).sum() < 12  # and nothing else


def test_a_line_breaks_where_buckets_are_missing(make_alert: Callable[..., Alert]) -> None:
    def ink(data: ChartData) -> np.ndarray[Any, Any]:
        bare = replace(data, expected=None, lower=None, upper=None, season=np.full(len(data.season), np.nan))
        pixels = picture(draw(make_alert(), bare, timezone="UTC"))
        height = pixels.shape[0]
        return np.asarray(near(pixels[int(height * 0.16) : int(height * 0.86)], INK, 60).any(axis=0))

    whole, broken = ink(ORDINARY), ink(without(ORDINARY, *range(25, 35)))
    left, right = np.flatnonzero(whole)[0], np.flatnonzero(whole)[-1]
    gap = slice(left + int((right - left) * 25 / 59) + 4, left + int((right - left) * 34 / 59) - 4)
    assert whole[gap].all()
    assert not broken[gap].any()


def test_days_that_the_clocks_change_and_long_months_are_no_gaps(make_alert: Callable[..., Alert]) -> None:
    months = np.array(["2023-12", "2024-01", "2024-02", "2024-03", "2024-04"], "datetime64[M]").astype("datetime64[us]")
    days = np.array(["2013-03-09T05", "2013-03-10T05", "2013-03-11T04", "2013-03-12T04"], "datetime64[us]")
    for grain, times in (("1mo", months), ("1d", days)):
        data = ChartData(times, np.ones(len(times)), EMPTY)
        pixels = picture(draw(make_alert(grain=grain, bucket=at(-1, data)), data, timezone=NEW_YORK))
        row = near(pixels[100:300], INK, 60)
        line = row[np.argmax(row.sum(axis=1))]
        longest = max(len(piece) for piece in "".join("x" if inked else " " for inked in line).split())
        assert longest > pixels.shape[1] * 0.6


def test_expected_and_band_are_drawn_only_if_given(make_alert: Callable[..., Alert]) -> None:
    with_both = picture(draw(make_alert(), ORDINARY, timezone="UTC"))
    bare = picture(draw(make_alert(), replace(ORDINARY, expected=None, lower=None, upper=None), timezone="UTC"))
    assert near(with_both, BLUE).any()
    assert not near(bare, BLUE).any()


def test_alerts_are_told_apart_without_colours(make_alert: Callable[..., Alert]) -> None:
    def grey(data: ChartData) -> np.ndarray[Any, Any]:
        image = Image.open(BytesIO(draw(make_alert(), data, timezone="UTC"))).convert("L")
        return np.asarray(image).astype(int)

    fired = series(fired=0)
    fired = replace(fired, fired=fired.times[30:31])
    different = np.abs(grey(fired) - grey(series(fired=0))) > 60
    assert different.sum() > 60  # a mark of several pixels each way, at the point and in the legend


def test_the_same_data_gives_the_same_bytes_in_any_thread(make_alert: Callable[..., Alert]) -> None:
    def one(_: int) -> bytes:
        return draw(make_alert(), ORDINARY, timezone=NEW_YORK)

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(one, range(8)))) == 1


def test_the_time_axis_follows_the_time_zone(make_alert: Callable[..., Alert]) -> None:
    shift = np.timedelta64(5, "h")  # New York's midnights become those of UTC
    same = replace(
        ORDINARY,
        times=ORDINARY.times - shift,
        season_times=ORDINARY.season_times - shift,
        fired=ORDINARY.fired - shift,
    )
    there = picture(draw(make_alert(), ORDINARY, timezone=NEW_YORK))
    here = picture(draw(make_alert(bucket=make_alert().bucket - timedelta(hours=5)), same, timezone="UTC"))
    height = there.shape[0]
    dates, below = slice(int(height * 0.88), int(height * 0.925)), slice(int(height * 0.925), height)
    assert (there[dates] < 200).any()
    assert (there[dates] == here[dates]).all()
    assert (there[below] != here[below]).any()  # the name of the zone


def test_the_chart_is_drawn_whatever_a_user_set_in_matplotlib(make_alert: Callable[..., Alert]) -> None:
    import matplotlib

    plain = draw(make_alert(), ORDINARY, timezone="UTC")
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"font.family": "no such font", "axes.facecolor": "black", "savefig.dpi": 10}):
        own = draw(make_alert(), ORDINARY, timezone="UTC")
    assert picture(own).shape == picture(plain).shape
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    ("ticks", "labels", "value", "label"),
    [
        ([0.0, 0.5, 1.0], ["0", "0.5", "1.0"], 0.7345, "0.735"),
        ([0.0, 250.0, 500.0], ["0", "250", "500"], 1161.4, "1,161"),
        ([0.0, 5e5, 1e6], ["0", "0.5M", "1.0M"], 1_234_567.0, "1.23M"),
        ([0.0, 2.5e12, 5e12], ["0", "2.5T", "5.0T"], 2.73e12, "2.73T"),
        ([10_000.0, 12_500.0], ["10.0k", "12.5k"], 11_111.0, "11.11k"),
        ([1e12, 1e12 + 5], ["1,000,000,000,000", "1,000,000,000,005"], 1e12 + 18, "1,000,000,000,018"),
        ([0.0, 1e-7, 2e-7], ["0", "1e-7", "2e-7"], 2.73e-7, "2.73e-7"),
        ([-400.0, -200.0], ["-400", "-200"], -0.5, "-0.5"),
        ([7.0], ["7"], 7.0, "7"),
        ([], [], 0.0, "0"),
    ],
)
def test_numbers_on_an_axis(ticks: list[float], labels: list[str], value: float, label: str) -> None:
    scale = Scale.of(ticks)
    assert [scale.tick(tick) for tick in ticks] == labels
    assert scale.value(value) == label


def test_letters_without_a_glyph_get_a_stand_in() -> None:
    assert drawable("orders é ж Ω ▯") == "orders é ж Ω ▯"
    assert drawable("a\ue000b") == "a▯b"
    assert drawable("\u2068עב\u2069 42") == "עב\u200e 42"


WILD = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 1e308, -1e308, 5e-324, 1.0, -3.0])


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_whatever_a_series_holds_has_a_chart(data: st.DataObject) -> None:
    points = data.draw(st.integers(0, 9))
    offsets = sorted(data.draw(st.sets(st.integers(0, 400), min_size=points, max_size=points)))
    times = LAST - np.array(offsets[::-1], dtype="int64") * HOUR

    def column() -> np.ndarray[Any, Any]:
        return np.array([data.draw(WILD) for _ in range(points)], float)

    kind = data.draw(st.sampled_from(["anomaly", "threshold", "change", "late"]))
    wild = dict(
        zip(("value", "expected", "lower", "upper"), (data.draw(st.none() | WILD) for _ in range(4)), strict=True)
    )
    alert = Alert(
        "e",
        "b",
        "m",
        kind,
        "opened",
        "up",
        LAST.item().replace(tzinfo=UTC),
        "1h",
        **wild,
        score=0.9,
        threshold=0.8,
        severity="high",
    )
    series = ChartData(times, column(), times[-2:], column(), column(), column(), times, column(), "week before")
    assert picture(draw(alert, series, timezone="UTC")).shape == (SIZE[1] * DPI, SIZE[0] * DPI, 3)
