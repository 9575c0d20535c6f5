"""Faults in a copy of a real table: which are found, when, and that the table stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from anomstack_provider.steps.drill import FAULTS, Drilled, drill
from tests.steps.conftest import Rig, noise

SEASONAL = {"recipe": "seasonal", "schedule": "@hourly", "grain": "1h", "train_cron_schedule": "@weekly"}
HOURS = 24 * 60


@pytest.fixture
def hourly(rig: Callable[..., Rig]) -> Callable[..., Rig]:
    """Make a batch of two metrics with a day's rhythm, sixty days long."""

    def build(**keys: Any) -> Rig:
        made = rig(**{**SEASONAL, **keys})
        day = 1 + 0.5 * np.sin(np.arange(HOURS) * 2 * np.pi / 24)
        for seed, name in enumerate(("orders", "visits")):
            made.put(name, day * 1000 + np.random.default_rng(seed).normal(0, 20, HOURS), freq="1h")
        return made

    return build


def drilled(rig: Rig, *kinds: str, **arguments: Any) -> dict[str, Drilled]:
    found = drill(rig.spec, "orders", rig.store, kinds=kinds or tuple(FAULTS), **arguments)
    return {one.kind: one for one in found}


def test_a_spike_and_a_drop_are_told_in_their_own_bucket(hourly: Any) -> None:
    found = drilled(hourly(), "spike", "drop")
    for kind, direction in (("spike", "up"), ("drop", "down")):
        one = found[kind]
        assert one.alert is not None
        assert (one.after, one.buckets, one.alert.transition, one.alert.direction) == (0, 1, "opened", direction)
        assert one.alert.bucket == one.since
        assert (one.alert.kind, one.alert.metric_name) == ("anomaly", "orders")


def test_the_larger_the_fault_the_further_out_its_value(hourly: Any) -> None:
    rig = hourly()
    small, large = (drilled(rig, "spike", size=size)["spike"].alert for size in (4, 40))
    assert large.value - large.expected > 5 * (small.value - small.expected) > 0
    assert drilled(rig, "spike", size=0.1)["spike"].alert is None, "within the noise"


def test_a_gap_is_late_data_of_that_metric_alone(hourly: Any) -> None:
    gap = drilled(hourly(), "gap")["gap"]
    assert gap.alert is not None
    assert (gap.alert.kind, gap.alert.metric_name) == ("late", "orders")
    assert 0 <= gap.after < gap.buckets


def test_a_drift_is_told_before_it_is_over(hourly: Any) -> None:
    drift = drilled(hourly(), "drift", size=8)["drift"]
    assert drift.alert is not None
    assert 0 < drift.after < drift.buckets


def test_a_flat_line_says_whether_it_is_told(hourly: Any) -> None:
    flat = drilled(hourly(), "flat")["flat"]
    assert flat.buckets == 48
    assert flat.alert is not None, "in a series with a rhythm the expected values leave the line"


def test_what_is_unusual_within_its_range_says_so(hourly: Any) -> None:
    found = drilled(hourly(alert_gates={"direction": "up"}), "spike", "flat")
    spike, flat = found["spike"].alert, found["flat"].alert
    assert spike is not None
    assert flat is not None
    assert flat.lower < flat.value < flat.upper
    assert flat.why[1:] == ("The value is within its usual range, but not usual behind those before it",)
    assert len(spike.why) == 1


def test_nothing_falls_below_nothing_where_nothing_did(hourly: Any) -> None:
    found = drilled(hourly(), "drop", size=500)["drop"]
    assert found.alert is not None
    assert found.alert.value == 0


def test_a_gate_that_keeps_the_fault_from_being_told_is_named(hourly: Any) -> None:
    found = drilled(hourly(alert_gates={"min_abs_change": 1e6}), "drop")["drop"]
    assert (found.alert, found.after) == (None, None)
    assert found.stopped["min_abs_change"] >= 1


def test_an_event_that_was_there_already_is_not_taken_for_the_fault(hourly: Any) -> None:
    rig = hourly(merge_max_gap=0)
    values = rig.rows("metric").query("metric_name == 'orders'")["metric_value"].to_numpy(copy=True)
    values[-1] += 3000
    rig.put("orders", values, freq="1h")
    found = drilled(rig, "spike", size=0.1)["spike"]
    assert found.alert is None
    found = drilled(rig, "spike")["spike"]
    assert found.alert is not None
    assert found.after == 0


def test_nothing_is_written(hourly: Any) -> None:
    rig = hourly()
    before = {kind: len(rig.rows(kind)) for kind in ("metric", "score", "alert")}
    drilled(rig, "spike", "gap")
    assert {kind: len(rig.rows(kind)) for kind in before} == before == {"metric": 2 * HOURS, "score": 0, "alert": 0}
    assert not (rig.folder / "models").exists()


@pytest.mark.parametrize("recipe", ["anomstack", "seasonal"])
def test_a_constant_metric_has_faults_too(rig: Callable[..., Rig], recipe: str) -> None:
    made = rig(recipe=recipe, grain="1d", train_cron_schedule="@monthly")
    made.put("orders", np.full(90, 7.0))
    found = drill(made.spec, "orders", made.store, kinds=("spike",))[0]
    assert found.buckets == 1


def test_what_cannot_be_drilled_is_said(rig: Callable[..., Rig]) -> None:
    made = rig(grain="1d")
    with pytest.raises(ValueError, match="batch 'b' has no stored metric 'orders'; there are: none"):
        drill(made.spec, "orders", made.store)
    made.put("orders", noise(20))
    with pytest.raises(ValueError, match="metric 'orders' has 20 stored buckets; a drill needs 36"):
        drill(made.spec, "orders", made.store)
