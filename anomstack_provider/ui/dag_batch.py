"""
Which batch a DAG is of, as the API server can know it: from the ``default_args`` that are serialised with the DAG.

``generate_dags`` puts ``metric_batch`` and ``metrics_dir`` there; a hand-written DAG may do the same, or give
``config``. The batch's file is read from that folder, or where the server does not have it from the configured one.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.wiring.batches import inline_spec, load_spec

TAG = "anomstack"


class NoDag(LookupError):
    """Airflow has no such DAG."""


class NoBatch(LookupError):
    """The DAG does not say which batch it is of."""


def batch_of_dag(dag_id: str) -> BatchSpec:
    """
    Return the batch of a DAG.

    Raises :class:`NoDag`, :class:`NoBatch`, and what ``load_spec`` raises for a folder or file that is not there.
    """
    given = _default_args(dag_id)
    if isinstance(config := given.get("config"), dict):
        return inline_spec(config)
    name, folder = given.get("metric_batch"), given.get("metrics_dir")
    if not isinstance(name, str):
        raise NoBatch(
            f"DAG {dag_id!r} names no metric batch; one that is written by hand does so by metric_batch and "
            "metrics_dir (or config) in its default_args"
        )
    here = folder if isinstance(folder, str) and Path(folder).is_dir() else None
    return load_spec(name, here or _configured() or folder)


def listed(dag_ids: Collection[str]) -> list[str]:
    """
    Return which of some DAGs the dashboard lists, sorted: those tagged ``anomstack`` that name a batch.

    ``generate_dags`` sets the tag, on the DAGs of a whole folder too, which name no batch. Looking at the tags first
    spares the server from reading every other DAG of the site.
    """
    from airflow.models.dag import DagModel, DagTag
    from airflow.utils.session import create_session

    with create_session() as session:
        found = session.query(DagTag.dag_id).join(DagModel, DagModel.dag_id == DagTag.dag_id)
        tagged = {dag_id for (dag_id,) in found.filter(DagTag.name == TAG, DagModel.is_stale.is_(False))}
    return [dag_id for dag_id in sorted(tagged.intersection(dag_ids)) if _names_batch(dag_id)]


def _names_batch(dag_id: str) -> bool:
    try:
        given = _default_args(dag_id)
    except NoDag:  # not serialised yet
        return False
    return isinstance(given.get("config"), dict) or isinstance(given.get("metric_batch"), str)


def _default_args(dag_id: str) -> dict[str, Any]:
    from airflow.models.serialized_dag import SerializedDagModel

    dag = SerializedDagModel.get_dag(dag_id)
    if dag is None:
        raise NoDag(f"there is no DAG {dag_id!r}")
    return dict(dag.default_args or {})


def _configured() -> str | None:
    from anomstack_provider.wiring.settings import metrics_dir

    return metrics_dir()
