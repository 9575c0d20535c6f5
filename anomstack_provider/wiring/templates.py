"""What a batch's SQL and Python may refer to: Airflow's context, the run's window, the batch's own keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.runtime.window import RunWindow


def template_context(spec: BatchSpec, window: RunWindow, context: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """
    Return the names that a template sees: ``context``, then the batch's keys, then the window's times.

    The keys are as ``BatchSpec.names`` has them: one without a value can be asked for and not printed.

    The times are those of ``window`` whatever kind of run this is, so ``ds`` or ``ts`` exist in a run without a logical
    date too. All are UTC: ``data_interval_start``, ``data_interval_end``, ``as_of`` and ``logical_date`` as datetimes.
    """
    return {**(context or {}), **spec.names(), **window_names(window)}


def window_names(window: RunWindow) -> dict[str, Any]:
    """Return the names of a window's times, all UTC."""
    import pendulum

    start, end = pendulum.instance(window.start, tz="UTC"), pendulum.instance(window.end, tz="UTC")
    as_of = pendulum.instance(window.as_of, tz="UTC")
    ds, ts = start.strftime("%Y-%m-%d"), start.isoformat()
    return {
        "data_interval_start": start,
        "data_interval_end": end,
        "as_of": as_of,
        "logical_date": start,
        "ds": ds,
        "ds_nodash": ds.replace("-", ""),
        "ts": ts,
        "ts_nodash": start.strftime("%Y%m%dT%H%M%S"),
        "ts_nodash_with_tz": ts.replace("-", "").replace(":", ""),
    }


def render_key(
    spec: BatchSpec,
    key: str,
    text: str,
    window: RunWindow,
    context: Mapping[str, Any],
    metrics_dir: str | None,
) -> str:
    """
    Return the text of a key that stands in the place of what is built in with its Jinja rendered.

    It sees what :func:`template_context` has. Includes are found below the folder.
    """
    from anomstack_provider.config.templating import render
    from anomstack_provider.wiring import settings

    folder = metrics_dir or settings.metrics_dir() or "."
    return render(text, template_context(spec, window, context), folder, where=f"{spec.metric_batch}: {key}")
