"""Run a batch's own queries in the place of the reads of its steps, each rendered as of a moment."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.runtime.ticks import last_tick
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.wiring.templates import window_names

if TYPE_CHECKING:
    import pandas as pd


def own_queries(spec: BatchSpec, hook: Any, lock_wait: float) -> Callable[[str, datetime], pd.DataFrame]:
    """
    Return what runs the query of a key as of a moment on the batch's SQL hook, each once.

    The query sees the names of the run whose window ends at that moment, the batch's keys and Airflow's macros. It sees
    nothing of the run that asks: a backfill, a retry and a preview have to be given the same rows.
    """

    @lru_cache(maxsize=16)
    def run(key: str, as_of: datetime) -> pd.DataFrame:
        from airflow.sdk.execution_time.context import MacrosAccessor

        from anomstack_provider.store.errors import SourceError
        from anomstack_provider.store.source import read_sql

        window = RunWindow(last_tick(spec.cron, spec.timezone, as_of), as_of)
        names = {"macros": MacrosAccessor(), **window_names(window)}
        sql = spec.render(key, names)
        try:
            return read_sql(hook, sql, lock_wait=lock_wait)
        except SourceError as error:
            raise SourceError(f"{spec.metric_batch}: {key}: {error}") from error

    return run
