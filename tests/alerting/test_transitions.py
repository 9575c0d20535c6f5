"""What an alert says of the transition of an event."""

from __future__ import annotations

import numpy as np

from anomstack_provider.alerting.events import Transition
from anomstack_provider.alerting.findings import NONE, UP, Findings
from anomstack_provider.alerting.transitions import tell
from anomstack_provider.config.about import About
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.messages.headline import headline

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


def test_a_bucket_of_an_event_on_scores_that_crosses_a_threshold_alone_tells_what_to_expect() -> None:
    spec = BatchSpec.model_validate({"metric_batch": "b", "ingest_sql": "select 1"})
    up, why, grain = np.full(1, UP, np.int8), [("why",)], ["1d"]
    numbers = {"value": 150.0, "expected": 100.0, "lower": 80.0, "upper": 120.0, "score": 0.9, "threshold": 0.5}
    scored = Findings.of(
        "anomaly", TIMES[:1], up, why=why, grain=grain, **{k: np.array([v]) for k, v in numbers.items()}
    )
    numbers |= {"value": 118.0, "score": 0.3}
    quiet = Findings.of(
        "anomaly", TIMES[1:], up, why=why, grain=grain, **{k: np.array([v]) for k, v in numbers.items()}
    )
    bounds = {"value": np.array([118.0]), "upper": np.array([110.0])}
    beyond = Findings.of("threshold", TIMES[1:], up, why=[("above 110",)], grain=grain, **bounds)
    happened = [Transition("escalated", 1, 1, first=0, newest=1, peak=0, fired=2, severity=1)]
    both = [("anomaly",), ("threshold",)]
    (one,) = tell(spec, "m", happened, Findings.together([scored, beyond]), lambda _: quiet, lambda _: (), both)
    assert (one.value, one.expected, one.lower, one.upper) == (118.0, 100.0, 80.0, 120.0)
    assert (one.score, one.threshold, one.why) == (None, None, ("above 110",))
    # Not the worst bucket, which was told before: that it crossed the threshold is the news.
    assert headline(one, "UTC", About()).line == ("[MEDIUM, escalated] b · m now 18 % above expected: 118 (Sat 2 Mar)")
