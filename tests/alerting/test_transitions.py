"""What an alert says of the transition of an event."""

from __future__ import annotations

import numpy as np

from anomstack_provider.alerting.events import Transition
from anomstack_provider.alerting.findings import NONE, UP, Findings
from anomstack_provider.alerting.transitions import tell
from anomstack_provider.config.spec import BatchSpec

TIMES = np.array(["2024-03-01", "2024-03-02"], "datetime64[us]")


def test_an_event_beyond_a_threshold_tells_its_bounds_where_a_bucket_with_another_range_is_shown() -> None:
    spec = BatchSpec.model_validate(
        {"metric_batch": "b", "ingest_sql": "select 1", "tholdalert_thresholds": {"m": {"upper": 500}}}
    )
    numbers = {"value": np.array([900.0]), "upper": np.array([500.0])}
    beyond = Findings.of("threshold", TIMES[:1], np.full(1, UP, np.int8), why=[("above",)], grain=["1d"], **numbers)
    expected = {"value": np.array([100.0]), "lower": np.array([80.0]), "upper": np.array([120.0])}
    quiet = Findings.of("anomaly", TIMES[1:], np.full(1, NONE, np.int8), why=[()], grain=["1d"], **expected)
    happened = [
        Transition("opened", 0, 0, first=0, newest=0, peak=0, fired=1, severity=1),
        Transition("closed", 1, None, first=0, newest=0, peak=0, fired=1, severity=1),
    ]
    alerts = tell(spec, "m", happened, beyond, lambda _: quiet, lambda _: (), [("threshold",)])
    assert [(one.transition, one.kind, one.value, one.lower, one.upper) for one in alerts] == [
        ("opened", "threshold", 900.0, None, 500.0),
        ("closed", "threshold", 100.0, None, 500.0),
    ]
