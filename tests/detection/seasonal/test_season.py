from __future__ import annotations

import numpy as np
import pytest

from anomstack_provider.detection.grain import parse
from anomstack_provider.detection.seasonal.grid import Slots, grid_of, slots_of
from anomstack_provider.detection.seasonal.season import Fitter, season
from anomstack_provider.detection.series import Floats
from tests.detection.seasonal.conftest import times

pytestmark = pytest.mark.filterwarnings("error")


def slots(n: int, grain: str) -> Slots:
    moments = times(n, grain)
    return slots_of(grid_of(moments, parse(grain), "UTC"), moments, "UTC")


def found(x: Floats, grain: str) -> Floats:
    where = slots(x.shape[1], grain)
    return season(Fitter(where).fit(x), where, x.shape)


def noise(m: int, n: int) -> Floats:
    return np.random.default_rng(0).normal(size=(m, n))


@pytest.mark.parametrize(("grain", "n"), [("1h", 24 * 84), ("1d", 364), ("1mo", 240), ("5min", 12 * 24 * 42)])
def test_a_season_is_recovered(grain: str, n: int) -> None:
    where = slots(n, grain)
    planted = np.zeros(n)
    for key, size in zip(where.keys, where.sizes, strict=True):
        planted += 5 * np.random.default_rng(size).normal(size=size)[key]
    estimated = found(planted - np.median(planted) + noise(3, n), grain)
    rest = planted - np.median(planted) - estimated
    rest -= np.median(rest, axis=1)[:, None]
    assert (np.sqrt(np.mean(rest**2, axis=1)) < 0.8).all()


@pytest.mark.parametrize(("grain", "n"), [("1h", 24 * 84), ("1d", 364), ("1mo", 240), ("5min", 12 * 24 * 42)])
def test_noise_has_no_season(grain: str, n: int) -> None:
    assert np.sqrt(np.mean(found(noise(10, n), grain) ** 2)) < 0.2


def test_hours_of_the_week_are_those_of_the_day_where_weekdays_do_not_differ() -> None:
    n = 24 * 84
    hour = np.arange(n) % 24
    estimated = found(np.sin(hour / 24 * 2 * np.pi) * 10 + noise(1, n), "1h")[0]
    by_day = estimated.reshape(-1, 24)[:7]
    assert np.abs(by_day - by_day.mean(axis=0)).max() < 1


def test_the_first_of_the_month_is_a_slot_of_days() -> None:
    dates = times(720, "1d").astype("datetime64[D]")
    first = dates == dates.astype("datetime64[M]").astype("datetime64[D]")
    estimated = found(np.where(first, 50.0, 0.0) + noise(1, 720), "1d")[0]
    assert (estimated[first] > 40).all()
    assert (np.abs(estimated[~first]) < 2).all()


def test_anomalies_do_not_make_a_season() -> None:
    x = noise(1, 24 * 84)
    x[0, 24 * 10 : 24 * 10 + 5] = 1e6
    assert np.abs(found(x, "1h")).max() < 2


def test_slots_that_were_never_seen_have_no_season() -> None:
    x = noise(1, 24 * 84) + 10 * (np.arange(24 * 84) % 24 == 3)
    x[0, np.arange(24 * 84) % 24 == 5] = np.nan
    estimated = found(x, "1h")[0]
    assert np.isfinite(estimated).all()
    assert (np.abs(estimated[5::24]) < 0.5).all()


def test_without_slots_there_is_no_season() -> None:
    assert (found(noise(2, 60), "1w") == 0).all()
