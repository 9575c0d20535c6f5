"""The budget of false alarms and the calendar, from the config to the alerts, through the steps."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from anomstack_provider.config.about import About
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection.seasonal.score import threshold_of
from anomstack_provider.messages.headline import headline
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.overlay import MemoryRows
from anomstack_provider.steps.preview import Preview, preview

START = datetime(2024, 1, 1, tzinfo=UTC)


def previewed(values: np.ndarray, step: str, days: tuple[int, int], **keys: object) -> Preview:
    times = pd.date_range("2024-01-01", periods=len(values), freq=step).astype("datetime64[us]")
    frame = pd.DataFrame({"metric_name": "m", "metric_type": "metric", "metric_timestamp": times})
    rows = MemoryRows()
    rows.replace(frame.assign(metric_value=values, metadata=None))
    spec = BatchSpec.model_validate({"metric_batch": "b", "ingest_sql": "-", "schedule": "@daily", **keys})
    return preview(spec, RunWindow(START + timedelta(days=days[0]), START + timedelta(days=days[1])), rows)


def hourly(days: int) -> np.ndarray:
    hours = np.arange(24 * days)
    return 200 + 60 * np.sin(hours * np.pi / 12) + np.random.default_rng(3).normal(0, 5, len(hours))


def test_a_spike_is_one_event_and_a_stuck_value_another() -> None:
    values = hourly(70)
    values[24 * 62 + 5] += 80
    values[24 * 66 : 24 * 66 + 20] = values[24 * 66 - 1]
    found = previewed(values, "1h", (60, 70), false_alarms_per_month=0.2)
    # Stuck, it is below the usual until noon; the model of noon knows the value, above the usual in the afternoon.
    assert [(a.bucket.day, a.direction) for a in found.opened] == [(3, "up"), (7, "down")]
    assert [a.transition for a in found.alerts if a.bucket.day < 7] == ["opened", "closed"]
    spike = found.alerts[0]
    assert spike.bucket == START + timedelta(days=62, hours=5)
    assert spike.lower < spike.expected < spike.upper < spike.value
    assert abs(spike.expected - (values[24 * 62 + 5] - 80)) < 20
    assert spike.direction == "up"
    assert spike.threshold == pytest.approx(threshold_of(0.2))


@pytest.mark.parametrize("height", [120, -120, 400])
@pytest.mark.parametrize("recipe", ["seasonal", "anomstack"])
def test_a_spike_of_one_bucket_is_one_opened_and_one_closed(recipe: str, height: float) -> None:
    values = hourly(70)
    values[24 * 62 + 5] += height
    found = previewed(values, "1h", (60, 66), recipe=recipe, false_alarms_per_month=0.1)
    spike = START + timedelta(days=62, hours=5)
    assert [a.transition for a in found.alerts] == ["opened", "closed"]
    assert len({a.event_id for a in found.alerts}) == 1
    opened = found.alerts[0]
    # At once, or when the smoothed score has taken it in.
    assert timedelta(0) <= opened.bucket - spike <= timedelta(hours=3)
    # Either way it says what the spike was.
    assert (opened.direction, opened.severity) == ("up" if height > 0 else "down", "high")
    assert (opened.peak_bucket, opened.peak_value) == (spike, values[24 * 62 + 5])
    line = headline(opened, "UTC", About()).line
    assert f"{values[24 * 62 + 5]:.0f} (Sun 3 Mar 05:00 UTC)" in line
    assert ("above" if height > 0 else "below") in line


def test_a_gate_asks_about_the_bucket_that_a_smoothed_score_is_about() -> None:
    values = hourly(70)
    values[24 * 62 + 5] += 120
    gates: dict[str, dict[str, object]] = {
        "told": {"min_abs_change": 60, "direction": "up"},
        "too small": {"min_abs_change": 200},
        "the other way": {"direction": "down"},
        "in the small hours": {"active_hours": "06:00-24:00"},
    }
    told = {}
    for name, gate in gates.items():
        found = previewed(values, "1h", (60, 66), recipe="anomstack", alert_gates=gate)
        told[name] = [a.transition for a in found.alerts]
        assert all(a.bucket > START + timedelta(days=62, hours=5) for a in found.alerts)
    assert told["told"] == ["opened", "closed"]
    assert told["too small"] == told["the other way"] == told["in the small hours"] == []


def test_a_gate_stops_counts_and_leaves_the_scores_alone() -> None:
    values = hourly(70)
    values[24 * 62 + 5] += 80
    plain = previewed(values, "1h", (60, 66), false_alarms_per_month=0.1)
    gated = previewed(values, "1h", (60, 66), false_alarms_per_month=0.1, alert_gates={"min_abs_change": 200})
    assert (len(plain.opened), gated.alerts) == (1, ())
    assert list(gated.outcomes()["stopped"]) == ["min_abs_change"]
    assert START + timedelta(days=62, hours=5) in {one.bucket.item().replace(tzinfo=UTC) for one in gated.stopped}
    assert gated.scores["score"].equals(plain.scores["score"])
    passed = previewed(values, "1h", (60, 66), false_alarms_per_month=0.1, alert_gates={"min_abs_change": 20})
    (sentence,) = passed.opened[0].gates
    assert sentence.endswith("from expected, at least 20")
    assert plain.opened[0].gates == ()
    assert plain.opened[0].why == ("It is more unusual than a budget of 0.1 false alarms a month allows",)


def test_the_end_of_an_event_is_told_unless_the_batch_does_not_want_it() -> None:
    values = hourly(70)
    values[24 * 62 + 5] += 80
    told = previewed(values, "1h", (60, 66), false_alarms_per_month=0.1, notify_closed=False)
    assert [a.transition for a in told.alerts] == ["opened"]


def test_a_gate_on_a_metric_that_the_batch_does_not_have_is_said() -> None:
    values = hourly(70)
    gate = {"min_volume": {"metric": "orders", "at_least": 1}}
    found = previewed(values, "1h", (60, 62), alert_gates=gate)
    assert found.outcomes()["not_evaluated"] == {"m": "a gate looks at 'orders', which the batch does not have"}


def test_a_smaller_budget_asks_for_more() -> None:
    values = hourly(90)
    found = [len(previewed(values, "1h", (60, 90), false_alarms_per_month=b).opened) for b in (0.01, 1, 30)]
    # Not more events with every larger budget: with more findings, some events become one.
    assert found[0] <= 1
    assert max(found) == max(found[1:]) >= 4


def test_a_threshold_of_ones_own_comes_before_the_budget() -> None:
    values = hourly(70)
    values[24 * 62 + 5] += 80
    assert len(previewed(values, "1h", (60, 70), alert_threshold=0.999).alerts) == 0


def test_a_holiday_that_is_taken_for_a_sunday_is_no_anomaly() -> None:
    rng = np.random.default_rng(5)
    values = np.where(np.arange(200) % 7 == 6, 100.0, 300.0) + rng.normal(0, 6, 200)
    easter_monday = 91  # 1 April 2024
    values[[easter_monday - 3, easter_monday]] = 101.0  # and Good Friday
    plain = previewed(values, "1D", (85, 100))
    assert plain.alerts[0].bucket.date().isoformat() == "2024-03-29"
    known = previewed(values, "1D", (85, 100), holidays="DE")
    assert known.alerts == ()
    scored = known.scores.set_index("metric_timestamp")["score"]
    assert scored[pd.Timestamp("2024-04-01")] < 0.5


@pytest.mark.parametrize("action", ["exclude_from_training", "annotate"])
def test_what_training_leaves_out_does_not_widen_the_range(action: str) -> None:
    rng = np.random.default_rng(5)
    values = 300 + rng.normal(0, 6, 120)
    values[60:90] += rng.normal(0, 200, 30)
    event = {"name": "outage", "start": "2024-03-01", "end": "2024-03-30", "action": action}
    found = previewed(values, "1D", (100, 110), events=[event])
    last = found.rows.read(["score"], since=None, until=START + timedelta(days=110))["metadata"].iloc[-1]
    width = pd.io.json.ujson_loads(last)["upper"] - pd.io.json.ujson_loads(last)["lower"]
    assert (width < 100) == (action == "exclude_from_training")


def test_the_seasonal_recipe_imports_no_detector_library() -> None:
    """PyOD costs seconds of every task; what trains, stores, loads and scores this recipe needs none of it."""
    code = """
import sys, tempfile
import subprocess
import sys
from datetime import UTC, datetime, timedelta
import pandas as pd
from anomstack_provider.artifacts.model_store import ModelStore
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection.seasonal.score import threshold_of
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.overlay import MemoryRows
from anomstack_provider.steps.score import score
from anomstack_provider.steps.train import train
from pathlib import Path
times = pd.date_range("2024-01-01", periods=400, freq="1h").astype("datetime64[us]")
rows = MemoryRows()
rows.replace(pd.DataFrame({"metric_name": "m", "metric_type": "metric", "metric_timestamp": times,
                           "metric_value": [float(i % 24) for i in range(400)], "metadata": None}))
spec = BatchSpec.model_validate({"metric_batch": "b", "ingest_sql": "-", "schedule": "@daily"})
window = RunWindow(datetime(2024, 1, 15, tzinfo=UTC), datetime(2024, 1, 16, tzinfo=UTC))
models = ModelStore(Path(tempfile.mkdtemp()))
assert train(spec, window, rows, models).outcomes == {"m": "trained"}
assert score(spec, window, rows, models).rows == 25 + 24
print(sorted({name.split(".")[0] for name in sys.modules} & {"pyod", "sklearn", "scipy", "matplotlib", "numba"}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
