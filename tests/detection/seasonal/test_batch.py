"""A metric's model and judgements are the same to the bit in any company, and know nothing of what comes later."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from numpy.typing import NDArray

from anomstack_provider.artifacts.serialization import dumps, loads
from anomstack_provider.detection.seasonal.model import FULL, MEDIAN, SEASONAL, Fitted
from anomstack_provider.detection.series import Series, Times
from tests.detection.seasonal.conftest import business, facts, fit, fit_all, judge, part, series, times, training

pytestmark = pytest.mark.filterwarnings("error")


def gappy(n: int, seed: int, share: float = 0.1) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    values = business(n, seed)
    values[rng.random(n) < share] = np.nan
    values[n // 2 : n // 2 + 40] = np.nan
    return values


def readings(n: int, seed: int) -> Series:
    """Return readings at moments that lie on no grid."""
    rng = np.random.default_rng(seed)
    seconds = np.cumsum(rng.gamma(1.0, 3600.0, n)).astype(np.int64) + 1
    moments = np.datetime64("2024-01-01", "us") + np.maximum.accumulate(seconds + np.arange(n)) * np.timedelta64(1, "s")
    return Series(moments, rng.normal(50, 3, n))


CASES = {
    "hourly": (series(business(900)), "1h"),
    "hourly with gaps": (series(gappy(900, 1)), "1h"),
    "a seasonal rung": (series(gappy(900, 2)[-110:]), "1h"),
    "a median rung": (series(gappy(900, 3)[-40:]), "1h"),
    "five minutes": (series(business(900, 4, 300), "5min"), "5min"),
    "daily": (series(business(400, 5, 86_400), "1d"), "1d"),
    "daily with gaps": (series(gappy(400, 6), "1d"), "1d"),
    "weekly": (series(business(160, 7), "1w"), "1w"),
    "monthly": (series(business(180, 8), "1mo"), "1mo"),
    "readings": (readings(600, 9), "instant"),
    "readings in regular time": (series(business(600, 10), "instant"), "instant"),
}
RUNGS = {"a seasonal rung": SEASONAL, "a median rung": MEDIAN}


@pytest.fixture(scope="module")
def models() -> dict[str, Fitted]:
    """Models of the older two thirds of each case."""
    return {name: fit(one.slice(0, len(one) * 2 // 3), grain) for name, (one, grain) in CASES.items()}


@pytest.mark.parametrize("name", CASES)
def test_the_cases_are_of_the_rungs_that_they_say(name: str, models: dict[str, Fitted]) -> None:
    assert models[name].rung == RUNGS.get(name, FULL)


@pytest.mark.parametrize("timezone", ["UTC", "America/New_York"])
@pytest.mark.parametrize("name", CASES)
def test_nothing_after_a_bucket_changes_its_judgement(name: str, timezone: str, models: dict[str, Fitted]) -> None:
    one, _ = CASES[name]
    n = len(one)
    begin, cut = n * 2 // 3, n * 5 // 6
    before = judge(models[name], one, np.arange(begin, n), timezone)
    for later in (1e12, -1e12, float(one.values[cut - 1]), 0.0):
        values = one.values.copy()
        values[cut:] = later
        after = judge(models[name], Series(one.times, values), np.arange(begin, n), timezone)
        assert facts(part(before, slice(0, cut - begin))) == facts(part(after, slice(0, cut - begin)))


@pytest.mark.parametrize("span", [None, timedelta(days=2)])
@pytest.mark.parametrize("name", CASES)
def test_a_bucket_is_judged_alone_as_among_others(name: str, span: timedelta | None, models: dict[str, Fitted]) -> None:
    one, _ = CASES[name]
    wanted = np.arange(len(one) * 2 // 3, len(one))
    together = judge(models[name], one, wanted, "America/New_York", span=span)
    for i in range(0, len(wanted), 7):
        single = judge(models[name], one.slice(0, int(wanted[i]) + 1), wanted[i : i + 1], "America/New_York", span=span)
        assert facts(single) == facts(part(together, slice(i, i + 1)))
    some = np.sort(np.random.default_rng(1).choice(len(wanted), len(wanted) // 3, replace=False))
    assert facts(judge(models[name], one, wanted[some], "America/New_York", span=span)) == facts(part(together, some))


@pytest.mark.parametrize("name", [name for name in CASES if name != "readings"])
def test_a_slice_may_begin_anywhere_before_the_reach(name: str, models: dict[str, Fitted]) -> None:
    one, _ = CASES[name]
    model, n = models[name], len(one)
    columns = model.panel.grid.positions(one.times, "UTC")
    wanted = np.arange(n - n // 6, n)
    whole = judge(model, one, wanted)
    farthest = int(np.searchsorted(columns, columns[wanted[0]] - model.panel.reach))
    for begin in {0, farthest // 2, max(farthest - 1, 0), farthest}:
        assert facts(judge(model, one.slice(begin, n), wanted - begin)) == facts(whole)


def test_readings_look_back_no_further_than_their_span(models: dict[str, Fitted]) -> None:
    one, _ = CASES["readings"]
    span, wanted = timedelta(days=2), np.arange(500, 600)
    begin = int(np.searchsorted(one.times, one.times[500] - np.timedelta64(span)))
    assert 500 - begin < models["readings"].panel.reach
    whole = judge(models["readings"], one, wanted, span=span)
    cut = judge(models["readings"], one.slice(begin, 600), wanted - begin, span=span)
    assert facts(cut) == facts(whole)
    changed = one.values.copy()
    changed[:begin] = 1e9
    assert facts(judge(models["readings"], Series(one.times, changed), wanted, span=span)) == facts(whole)


def test_a_model_never_reaches_further_back_than_its_span() -> None:
    for days in (5, 6, 10, 13, 20, 69, 500):
        span = timedelta(days=days)
        assert fit(*CASES["hourly"], span=span).panel.reach * timedelta(hours=1) <= span
        assert fit(*CASES["daily"], span=span).panel.reach * timedelta(days=1) <= span


def company() -> dict[str, tuple[Series, str]]:
    """Return metrics of several panels, one of them of more than fit at once, with and without gaps."""
    many = {f"hourly {i}": (series(gappy(400, i, 0.02 * (i % 5))), "1h") for i in range(140)}
    many |= {f"counts {i}": (series(np.random.default_rng(i).poisson(0.3, 400)), "1h") for i in range(3)}
    for every in (6, 12):  # seasonal and median rungs on the columns of full ones
        sparse = np.where(np.arange(400) % every == 0, business(400, every), np.nan)
        sparse[-1] = 100.0
        many[f"every {every}"] = (series(sparse), "1h")
    many["still"] = (series(np.full(400, 3.0)), "1h")
    many |= {f"later {i}": (series(gappy(300, i), start="2024-02-01"), "1h") for i in range(3)}
    many |= {f"offset {i}": (series(business(300, i, 300), "5min", "2024-02-01T00:02"), "5min") for i in range(2)}
    many |= {f"daily {i}": (series(gappy(200, i), "1d"), "1d") for i in range(3)}
    many |= {f"readings {i}": (readings(200, i), "instant") for i in range(3)}
    return many


def test_a_metric_is_fitted_alone_as_among_others() -> None:
    many = company()
    together = fit_all({name: training(one, grain) for name, (one, grain) in many.items()}, "Europe/Berlin")
    assert set(together) == set(many)
    assert {model.rung for model in together.values()} == {MEDIAN, SEASONAL, FULL}
    for name in [name for i, name in enumerate(many) if not name.startswith("hourly") or i % 6 == 0]:
        one, grain = many[name]
        alone = fit(one, grain, "Europe/Berlin")
        assert facts(alone) == facts(together[name]), name
        wanted = np.arange(len(one) - 20, len(one))
        assert facts(judge(alone, one, wanted)) == facts(judge(together[name], one, wanted)), name


class Treated:
    """A calendar that takes every day for one weekday."""

    is_empty = False

    def __init__(self, weekday: int) -> None:
        self.weekday = weekday

    def weekdays(self, times: Times, timezone: str) -> NDArray[np.int8]:
        return np.full(len(times), self.weekday, np.int8)


def test_metrics_of_one_panel_keep_their_own_calendars() -> None:
    one = series(business(900))
    sunday, monday = Treated(6), Treated(0)
    many = {"plain": training(one), "sunday": training(one, calendar=sunday), "monday": training(one, calendar=monday)}
    together = fit_all(many)
    for name, alone in many.items():
        assert facts(fit_all({name: alone})[name]) == facts(together[name])
    wanted = np.arange(880, 900)
    for calendar in (sunday, monday):
        model = together["sunday"]
        expected = judge(model, one, wanted, calendar=calendar).expected
        assert (expected != judge(together["plain"], one, wanted).expected).any()


def test_two_readings_of_one_bucket_are_each_judged_as_they_came() -> None:
    moments = np.sort(np.r_[times(700), times(700)[[650, 660, 699]] + np.timedelta64(20, "m")])
    values = business(703)
    one = Series(moments, values)
    model = fit(one.slice(0, 600))
    wanted = np.arange(600, 703)
    together = judge(model, one, wanted)
    for i in range(len(wanted)):
        single = judge(model, one.slice(0, int(wanted[i]) + 1), wanted[i : i + 1])
        assert facts(single) == facts(part(together, slice(i, i + 1)))


@pytest.mark.parametrize("name", CASES)
def test_a_saved_model_judges_as_before(name: str, models: dict[str, Fitted]) -> None:
    one, _ = CASES[name]
    model = loads(dumps(models[name]))
    assert isinstance(model, Fitted)
    assert facts(model) == facts(models[name])
    wanted = np.arange(len(one) * 2 // 3, len(one))
    assert facts(judge(model, one, wanted)) == facts(judge(models[name], one, wanted))


def test_fitting_twice_gives_the_same_bytes() -> None:
    one = series(gappy(500, 11))
    assert dumps(fit(one)) == dumps(fit(one))
