"""The gate: what is open when, which events count, and that it leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anomstack_provider import AnomalyGate, AnomstackAlertOperator, AnomstackIngestOperator, AnomstackScoreOperator
from anomstack_provider.runtime.airflow_compat import AirflowFailException, AirflowSkipException
from tests.operators.conftest import Task
from tests.operators.test_steps_operators import KEYS

Gated = Callable[..., list[str]]

# Up to 20 March: "calls" is far out on the 5th and from the 12th on, the others are as always.
QUERY = """
    SELECT day AS metric_timestamp, name AS metric_name,
        CASE WHEN name = 'calls' AND (day = DATE '2024-03-05' OR day >= DATE '2024-03-12') THEN 900
            ELSE 100 + dayofyear(day) % 5 END AS metric_value
    FROM generate_series(DATE '2024-01-06', DATE '2024-03-20', INTERVAL 1 DAY) AS days(day),
        (VALUES ('calls'), ('it''s / 🎉'), ('orders')) AS names(name)
"""
BATCH = {**KEYS, "ingest_sql": QUERY, "grain": "1d", "merge_max_gap": 0, "disable_change": True}


@pytest.fixture(autouse=True)
def ingested(operator: Any, task: Any) -> None:
    task(operator(AnomstackIngestOperator, config=BATCH)).run()


@pytest.fixture
def gated(operator: Any) -> Gated:
    """Return a function that asks a gate as of the end of a day, for the metrics with an open event."""

    def ask(day: str, **arguments: Any) -> list[str]:
        start = day
        end = f"{day[:-2]}{int(day[-2:]) + 1:02}"
        run = Task(operator(AnomalyGate, **{"config": BATCH, **arguments}), (start, end))
        try:
            assert run.run() == []
        except AirflowSkipException as skipped:
            message = str(skipped)
        else:
            return []
        left = run.ti.pushed["return_value"]
        assert all(event["event_id"] in message for event in left)
        return [event["metric_name"] for event in left]

    return ask


def test_it_is_closed_while_an_event_is_open(gated: Gated) -> None:
    days = [f"2024-03-{day:02}" for day in range(4, 15)]
    shut = [day for day in days if gated(day)]
    # Of the event of the 12th only the first days are known to it: then the model has learned the level.
    assert shut[:2] == ["2024-03-05", "2024-03-12"]
    assert gated("2024-03-05") == ["calls"]
    assert gated("2024-03-06") == []


def test_it_agrees_with_what_the_runs_told(gated: Gated, operator: Any, mails: list[Any]) -> None:
    """Live runs day by day: between an opening and its end, and only there, the gate is shut."""
    open_now: set[str] = set()
    for day in (4, 5, 6, 11, 12, 13, 14):
        interval = (f"2024-03-{day:02}", f"2024-03-{day + 1:02}")
        shut = gated(interval[0])
        Task(operator(AnomstackScoreOperator, config=BATCH), interval).run()
        alert = Task(operator(AnomstackAlertOperator, config=BATCH), interval)
        alert.run()
        for told in alert.ti.pushed.get("transitions", []):
            (open_now.add if told["transition"] == "opened" else open_now.discard)(told["event_id"])
        assert bool(shut) == bool(open_now), day
        assert gated(interval[0]) == shut, "scored or not"
    assert mails


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"metrics": "calls"}, ["calls"]),
        ({"metrics": ["orders", "c*"]}, ["calls"]),
        ({"metrics": "orders"}, []),
        ({"metrics": "{{ params.shop }}"}, None),
        ({"kinds": ["threshold", "late"]}, []),
        ({"kinds": ["anomaly"], "severity": "high"}, ["calls"]),
        ({"config": {**BATCH, "metric_settings": {"calls": {"priority": "low"}}}, "severity": "high"}, []),
        ({"config": {**BATCH, "shards": 3}}, ["calls"]),
        ({"config": {**BATCH, "alert_gates": {"direction": "down"}}}, []),
        ({"config": {**BATCH, "disable_alert": True}}, []),
    ],
    ids=str,
)
def test_only_events_that_are_asked_for_count(gated: Gated, arguments: dict[str, Any], found: list[str] | None) -> None:
    if found is None:
        with pytest.raises(AirflowFailException, match="batch 'b' has no metric 'north' before 2024-03-06"):
            gated("2024-03-05", **arguments)
    else:
        assert gated("2024-03-05", **arguments) == found


def test_it_fails_for_good_when_told_to(operator: Any) -> None:
    run = Task(operator(AnomalyGate, config=BATCH, on_open="fail"))
    with pytest.raises(AirflowFailException) as failed:
        run.run()
    message = str(failed.value)
    assert message.startswith(
        "1 event is open in batch 'b' as of 2024-03-06T00:00:00+00:00: calls (high anomaly, up since"
    )
    assert run.ti.pushed["return_value"][0]["metric_name"] == "calls"


@pytest.mark.parametrize("wrong", [{"on_open": "stop"}, {"severity": "urgent"}, {"kinds": ["late", "odd"]}], ids=str)
def test_a_wrong_argument_is_said_when_the_dag_is_parsed(operator: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"task 't': .* expected one of"):
        operator(AnomalyGate, config=BATCH, **wrong)


def test_it_writes_nothing(gated: Gated, query: Any, database: Path, tmp_path: Path) -> None:
    before = query("SELECT * FROM metrics ORDER BY ALL")
    gated("2024-03-05")
    assert query("SELECT * FROM metrics ORDER BY ALL") == before
    assert not (tmp_path / "models").exists()
    assert query("SELECT count(*) FROM information_schema.tables") == [(1,)]


def test_a_metric_that_is_late_with_its_batch_is_named_by_the_batch(operator: Any, gated: Gated) -> None:
    late = {**BATCH, "freshness": "2d"}
    assert gated("2024-03-25", config=late, kinds=["late"], metrics="orders") == ["b"]
    assert gated("2024-03-21", config=late, kinds=["late"]) == []
