"""The events are those that Airflow's task runner makes of what the API tells of a run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.sdk.execution_time.comms import AssetEventDagRunReferenceResult
from airflow.sdk.execution_time.context import TriggeringAssetEventsAccessor

from anomstack_provider.operators.upstream import upstream_text


def event(asset: str, hour: int, dag: str | None, task: str | None = None) -> AssetEventDagRunReferenceResult:
    return AssetEventDagRunReferenceResult.model_validate(
        {
            "asset": {"name": asset, "uri": f"s3://bucket/{asset}", "extra": {}},
            "extra": {},
            "source_dag_id": dag,
            "source_task_id": task,
            "source_run_id": dag and "run_1",
            "source_map_index": -1,
            "source_aliases": [{"name": "any"}],
            "timestamp": datetime(2024, 1, 2, hour, 5, tzinfo=UTC),
        }
    )


def told(*events: AssetEventDagRunReferenceResult) -> str | None:
    context: Any = {"triggering_asset_events": TriggeringAssetEventsAccessor.build(events)}
    return upstream_text(context)


def test_the_newest_event_is_named() -> None:
    assert told(event("orders", 7, "load", "copy"), event("returns", 4, "other")) == (
        "asset orders was updated last, 2024-01-02 07:05 UTC, by DAG load, task copy, run run_1"
    )
    assert told(event("orders", 7, None)) == "asset orders was updated last, 2024-01-02 07:05 UTC, not by a DAG"


def test_a_run_that_no_asset_started_has_none() -> None:
    assert told() is None
    assert upstream_text({}) is None  # type: ignore[typeddict-item]


def test_it_never_fails_the_task(caplog: pytest.LogCaptureFixture) -> None:
    context: Any = {"triggering_asset_events": {"orders": [object()]}}
    assert upstream_text(context) is None
    assert "what started this run cannot be told" in caplog.text
