"""Batches as Airflow sees them: a metrics folder read with the site's defaults, and what a step needs to run on one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomstack_provider.config.errors import BatchError, ConfigError
from anomstack_provider.config.layers import Layer, merge, site_layer
from anomstack_provider.config.loader import LoadedFolder, load_batches
from anomstack_provider.config.spec import BatchSpec, check
from anomstack_provider.wiring import settings

if TYPE_CHECKING:
    from anomstack_provider.artifacts.model_store import ModelStore
    from anomstack_provider.store.metric_store import MetricStore


class BatchNotFound(ValueError):
    """There is no batch of that name, or no folder; the message says which names there are."""


def load_folder(metrics_dir: str | None, only: str | None = None) -> LoadedFolder:
    """Read a metrics folder, by default the configured one, with the ``[anomstack]`` section as the site's defaults."""
    folder = metrics_dir or settings.metrics_dir()
    if folder is None:
        raise BatchNotFound("no metrics folder: pass metrics_dir (--metrics-dir) or set [anomstack] metrics_dir")
    if not Path(folder).is_dir():
        raise BatchNotFound(f"the metrics folder {folder} does not exist")
    return load_batches(folder, site_defaults=settings.site_defaults(), only=only)


def load_spec(metric_batch: str, metrics_dir: str | None) -> BatchSpec:
    """Return one batch of a metrics folder; ``ConfigError`` names file, line and key of what is broken in it."""
    folder = load_folder(metrics_dir, only=metric_batch)
    if metric_batch in folder.batches:
        return folder.batches[metric_batch].spec
    if folder.errors:
        raise ConfigError(folder.errors)
    known = ", ".join(sorted(load_folder(metrics_dir).batches))
    raise BatchNotFound(f"no batch {metric_batch!r} in {folder.metrics_dir}; there are: {known or 'none'}")


def inline_spec(config: Mapping[str, Any], metrics_dir: str | None = None) -> BatchSpec:
    """
    Return the batch written as a mapping, in a hand-written DAG, over the site's defaults.

    :param metrics_dir: where the includes of its templates begin, by default the configured folder.
    """
    spec, problems = check(merge([site_layer(settings.site_defaults()), Layer("batch", "config", dict(config))]).values)
    if spec is None:
        raise ConfigError([BatchError("", "config", None, None, problem.key, problem.message) for problem in problems])
    return spec.placed(metrics_dir or settings.metrics_dir() or ".", config)


@dataclass(frozen=True)
class Stores:
    """The metrics table and the models of one batch."""

    metrics: MetricStore
    models: ModelStore


def open_stores(spec: BatchSpec) -> Stores:
    """Open what the batch's connection id and model path name; nothing is connected to before it is used."""
    from anomstack_provider.artifacts.model_store import open_model_store

    return Stores(open_metrics(spec), open_model_store(spec.model_path, settings.airflow_home()))


def open_metrics(spec: BatchSpec, *, lock_wait: float | None = None) -> MetricStore:
    """
    Open the metrics table alone, of which nothing is read yet.

    :param lock_wait: seconds to wait for a database that others have locked, by default as long as a task can.
    """
    from anomstack_provider.store.metric_store import MetricStore
    from anomstack_provider.store.session import LOCK_WAIT
    from anomstack_provider.wiring.queries import own_queries

    hook, wait = open_hook(spec), LOCK_WAIT if lock_wait is None else lock_wait
    queries = own_queries(spec, hook, wait)
    return MetricStore(hook, spec.table_key, spec.metric_batch, lock_wait=wait, queries=queries)


def open_hook(spec: BatchSpec) -> Any:
    """Return the SQL hook of the batch's metrics table and ledger, or of the embedded DuckDB file."""
    from anomstack_provider.store.hooks import open_hook as open_sql_hook

    return open_sql_hook(spec.table_conn_id, settings.duckdb_path())


def open_source(spec: BatchSpec) -> Any:
    """Return the SQL hook that the batch's ``ingest_sql`` is for, which may be another."""
    from anomstack_provider.store.hooks import open_hook as open_sql_hook

    return open_sql_hook(spec.conn_id, settings.duckdb_path())
