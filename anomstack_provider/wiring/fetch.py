"""Get a batch's rows from its source: the rendered query, or the rendered Python function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.runtime.user_function import UserFunctionError, call
from anomstack_provider.wiring import settings
from anomstack_provider.wiring.batches import open_hook, open_source

if TYPE_CHECKING:
    import pandas as pd

    from anomstack_provider.runtime.window import RunWindow

# Names of the template context that an ingest function may take as arguments.
_ARGUMENTS = ("data_interval_start", "data_interval_end", "as_of")


def fetch_query(spec: BatchSpec, sql: str) -> pd.DataFrame:
    """Run a rendered query on the connection of the batch's source."""
    from anomstack_provider.store.source import read_sql

    return read_sql(open_source(spec), sql)


def fetch_stored(spec: BatchSpec, sql: str) -> pd.DataFrame:
    """Run a rendered query on the connection of the batch's metrics table."""
    from anomstack_provider.store.source import read_sql

    return read_sql(open_hook(spec), sql)


def fetch_function(spec: BatchSpec, text: str, names: Mapping[str, Any]) -> pd.DataFrame:
    """Run the rendered text of ``ingest_fn``; its function may take the window's times as arguments."""
    import pandas as pd

    where = f"{spec.metric_batch}: ingest_fn"
    answer = call(text, "ingest", {name: names[name] for name in _ARGUMENTS}, where=where)
    if not isinstance(answer, pd.DataFrame):
        raise UserFunctionError(f"{where}: ingest() returned {type(answer).__name__}, not a pandas DataFrame")
    return answer


def fetch_outside_airflow(spec: BatchSpec, window: RunWindow, metrics_dir: str | None) -> pd.DataFrame:
    """Render and run the batch's query or function without a task: no connections or variables in the template."""
    from airflow.sdk.execution_time.context import MacrosAccessor

    from anomstack_provider.config.templating import render
    from anomstack_provider.wiring.templates import template_context

    key = "ingest_fn" if spec.ingest_fn is not None else "ingest_sql"
    names = template_context(spec, window, {"macros": MacrosAccessor()})
    text = render(
        getattr(spec, key) or "",
        names,
        metrics_dir or settings.metrics_dir() or ".",
        where=f"{spec.metric_batch}: {key}",
    )
    return fetch_function(spec, text, names) if key == "ingest_fn" else fetch_query(spec, text)
