"""What Airflow knows of where a run's data come from, for the messages of its alerts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


def upstream_text(context: Context) -> str | None:
    """
    Return which asset was updated last of those that started the run, when and by which DAG, in a sentence.

    None for a run that no asset started. Never raises: a message goes out without it.
    """
    try:
        by_asset: Any = context.get("triggering_asset_events") or {}
        events = [event for asset in list(by_asset) for event in by_asset[asset]]
        return _sentence(max(events, key=lambda event: event.timestamp)) if events else None
    except Exception:
        log.warning("what started this run cannot be told", exc_info=True)
        return None


def _sentence(event: Any) -> str:
    text = f"asset {event.asset.name} was updated last, {event.timestamp:%Y-%m-%d %H:%M %Z}"
    if not event.source_dag_id:
        return f"{text}, not by a DAG"
    task = f", task {event.source_task_id}" if event.source_task_id else ""
    return f"{text}, by DAG {event.source_dag_id}{task}, run {event.source_run_id}"
