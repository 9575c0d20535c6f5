"""Random scores: single runs in any order tell what one run over all tells, whatever the events look like."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.alert import alert
from anomstack_provider.steps.overlay import MemoryRows, NoModels
from tests.steps.conftest import at

START, DAYS = at("2024-01-01"), 36
FIRST = 12  # runs begin here; what lies before is stored already

scores = st.lists(
    st.tuples(st.sampled_from([0.0, 0.0, 0.0, 0.0, 0.9]), st.sampled_from([-3.0, -1.5, -0.5, 0.5, 1.5, 3.0, 9.0])),
    min_size=DAYS,
    max_size=DAYS,
)
keys = st.fixed_dictionaries(
    {
        "merge_max_gap": st.sampled_from(["0", "1d", "3d"]),
        "alert_snooze_n": st.integers(0, 4),
        "recipe": st.sampled_from(["seasonal", "anomstack"]),
        "preprocess_params": st.just({"lags_n": 1, "smooth_n": 0, "diff_n": 1}),
        "alert_smooth_n": st.integers(0, 2),
        "event_expires": st.sampled_from(["4d", "100d"]),
        "alert_threshold": st.sampled_from([0.25, 0.4]),
        "alert_gates": st.sampled_from(
            [{}, {"direction": "up"}, {"guardrail": {"metric": "b"}}, {"min_volume": {"metric": "b", "at_least": 100}}]
        ),
        "score_max_n": st.sampled_from([1, 25]),
    }
)


def stored(series: dict[str, list[tuple[float, float]]]) -> MemoryRows:
    """Return metric and score rows: each bucket as (score, distance from 100 in half-widths of 10)."""
    times = pd.date_range("2024-01-01", periods=DAYS).to_numpy().astype("datetime64[us]")
    parts = []
    for name, buckets in series.items():
        values = [100 + 10 * distance for _, distance in buckets]
        facts = [
            json.dumps({"value": v, "expected": 100.0, "lower": 90.0, "upper": 110.0, "grain": "1d"}) for v in values
        ]
        both = {"metric_name": name, "metric_timestamp": times}
        parts.append(pd.DataFrame({**both, "metric_type": "metric", "metric_value": values, "metadata": None}))
        own = {"metric_value": [score for score, _ in buckets], "metadata": facts}
        parts.append(pd.DataFrame({**both, "metric_type": "score", **own}))
    rows = MemoryRows()
    rows.replace(pd.concat(parts, ignore_index=True).astype({"metadata": object}))
    return rows


def window(first: int, last: int) -> RunWindow:
    return RunWindow(START + timedelta(days=first), START + timedelta(days=last))


def alert_rows(rows: MemoryRows) -> list[tuple[Any, ...]]:
    found = rows.read(["alert"], since=START + timedelta(days=FIRST), until=at("2100-01-01"))
    return list(found.drop(columns="metric_type").itertuples(index=False, name=None))


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(scores, scores, keys, st.integers(0, 10**6))
def test_single_runs_in_any_order_tell_what_one_run_over_all_tells(
    a: list[tuple[float, float]], b: list[tuple[float, float]], given_keys: dict[str, Any], seed: int
) -> None:
    config = {"metric_batch": "x", "ingest_sql": "-", "schedule": "@daily", "grain": "1d"}
    spec = BatchSpec.model_validate({**config, **given_keys})
    whole = stored({"a": a, "b": b})
    expected = alert(spec, window(FIRST, DAYS), whole, NoModels()).alerts
    days = list(range(FIRST, DAYS))
    for order in (days, random.Random(seed).sample(days, len(days))):
        rows = stored({"a": a, "b": b})
        told: dict[tuple[str, str], Alert] = {}
        for day in order:
            for one in alert(spec, window(day, day + 1), rows, NoModels()).alerts:
                assert told.setdefault((one.event_id, one.key), one) == one
        inside = {key: one for key, one in told.items() if one.bucket >= START + timedelta(days=FIRST)}
        assert inside == {(one.event_id, one.key): one for one in expected}
        assert alert_rows(rows) == alert_rows(whole)


@settings(deadline=None, max_examples=10)
@given(scores, keys, st.integers(FIRST, DAYS - 1), st.integers(0, 10**6))
def test_what_comes_later_changes_nothing_that_was_told(
    a: list[tuple[float, float]], given_keys: dict[str, Any], day: int, seed: int
) -> None:
    config = {"metric_batch": "x", "ingest_sql": "-", "schedule": "@daily", "grain": "1d"}
    spec = BatchSpec.model_validate({**config, **given_keys})
    rng = np.random.default_rng(seed)
    other = [*a[:day], *((float(rng.random()), float(rng.normal(0, 3))) for _ in range(DAYS - day))]
    told = [alert(spec, window(FIRST, DAYS), stored({"a": one}), NoModels()).alerts for one in (a, other)]
    before = [[one for one in alerts if one.bucket < START + timedelta(days=day)] for alerts in told]
    assert before[0] == before[1]
