"""
From a metrics folder to DAGs: one per batch, a stub for a broken one, and one that reports on the folder's health.

Runs whenever Airflow parses the file that calls it, so it reads YAML and builds operators and does nothing else: no
database, connection, variable, pandas or PyOD. It never raises, since an error here would take away every DAG of the
file.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, get_parsing_context

from anomstack_provider import folder_dags
from anomstack_provider.config.errors import BatchError
from anomstack_provider.config.loader import LoadedBatch, LoadedFolder
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.operators.alert import AnomstackAlertOperator
from anomstack_provider.operators.base import AnomstackOperator
from anomstack_provider.operators.broken import AnomstackBrokenBatchOperator
from anomstack_provider.operators.ingest import AnomstackIngestOperator
from anomstack_provider.operators.llmalert import AnomstackLanguageModelOperator
from anomstack_provider.operators.plot import AnomstackPlotOperator
from anomstack_provider.operators.publish import AnomstackPublishOperator
from anomstack_provider.operators.score import AnomstackScoreOperator
from anomstack_provider.operators.train import AnomstackTrainOperator
from anomstack_provider.operators.watch import AnomstackWatchOperator
from anomstack_provider.runtime.airflow_compat import CronDataIntervalTimetable
from anomstack_provider.wiring import settings
from anomstack_provider.wiring.batches import load_folder
from anomstack_provider.wiring.documentation import batch_doc


def generate_dags(metrics_dir: str | None = None, *, dag_id_prefix: str = "anomstack_") -> dict[str, DAG]:
    """
    Return the DAGs of a metrics folder by dag_id, for ``globals().update(generate_dags(...))`` in a DAG file.

    :param metrics_dir: the folder, a relative one taken from the folder of the calling DAG file. By default the
        ``[anomstack] metrics_dir`` option, else ``metrics`` beside the DAG file.
    :param dag_id_prefix: put before the batch's name; a second folder needs a second one. What a dag_id cannot hold is
        replaced and told apart by a hash.
    """
    folder = _folder(metrics_dir, sys._getframe(1).f_globals.get("__file__"))
    wanted = get_parsing_context().dag_id
    health_id = f"{dag_id_prefix}{folder_dags.HEALTH}"
    if wanted is not None and not wanted.startswith(dag_id_prefix):
        return {}
    # The health of a folder shows only when all its DAGs are built, and others are about many batches.
    is_about_all = wanted is not None and folder_dags.is_reserved(wanted.removeprefix(dag_id_prefix))
    only = None if is_about_all else wanted
    try:
        loaded = load_folder(folder) if only is None else _load_one(folder, only.removeprefix(dag_id_prefix))
    except Exception as error:  # the folder itself cannot be read: seen in the health DAG, never an import error
        return {health_id: folder_dags.health_dag(health_id, folder, [f"{type(error).__name__}: {error}"], [])}
    dags: dict[str, DAG] = {}
    refused: list[str] = []
    for name, batch in loaded.batches.items():
        dag_id = dag_id_prefix + dag_id_part(name)
        if batch.spec.disable_batch or only not in (None, dag_id):
            continue
        try:
            dags[dag_id] = _batch_dag(dag_id, batch, folder)
        except Exception as error:  # one batch must not take the others with it
            refused.append(f"{batch.path}: {type(error).__name__}: {error}")
            dags[dag_id] = _stub_dag(dag_id, [refused[-1]])
    for name, errors in _by_batch(loaded.errors).items():
        dag_id = dag_id_prefix + dag_id_part(name)
        if only in (None, dag_id):
            dags[dag_id] = _stub_dag(dag_id, [str(error) for error in errors])
    if only is None:
        specs = [batch.spec for batch in loaded.batches.values() if not batch.spec.disable_batch]
        names = {spec.metric_batch: dag_id_part(spec.metric_batch) for spec in specs}
        for what, make in folder_dags.MAKERS.items():
            try:
                dags.update(make(dag_id_prefix, folder, specs, names))
            except Exception as error:  # without it the batches run all the same; the health DAG says why
                refused.append(f"{folder}: the {what}: {type(error).__name__}: {error}")
        problems = [*(str(error) for error in loaded.errors), *refused]
        dags[health_id] = folder_dags.health_dag(health_id, folder, problems, refused)
    return {dag_id: dag for dag_id, dag in dags.items() if wanted in (None, dag_id)}


def dag_id_part(metric_batch: str) -> str:
    """
    Return a batch's name as part of a dag_id: itself if Airflow allows it and it is free, else made safe with a hash.

    Ids that differ in case only would share logs on some file systems; Airflow allows them, so they are kept.
    """
    if re.fullmatch(r"[A-Za-z0-9_.-]{1,180}", metric_batch) and not folder_dags.is_reserved(metric_batch):
        return metric_batch
    digest = hashlib.sha256(metric_batch.encode()).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', metric_batch)[:160].strip('_')}_{digest}"


def _folder(metrics_dir: str | None, dag_file: str | None) -> str:
    beside = Path(dag_file).parent if dag_file else Path.cwd()
    return str(beside / metrics_dir) if metrics_dir else settings.metrics_dir() or str(beside / "metrics")


def _load_one(folder: str, wanted: str) -> LoadedFolder:
    """Read one batch for a worker, which runs a task of one DAG; all of them if its dag_id does not tell its name."""
    one = load_folder(folder, only=wanted)
    return one if one.batches or one.errors else load_folder(folder)


def _by_batch(errors: Iterable[BatchError]) -> dict[str, list[BatchError]]:
    grouped: dict[str, list[BatchError]] = {}
    for error in errors:
        if error.metric_batch is not None:
            grouped.setdefault(error.metric_batch, []).append(error)
    return grouped


def _batch_dag(dag_id: str, batch: LoadedBatch, folder: str) -> DAG:
    spec = batch.spec
    dag = DAG(
        dag_id,
        schedule=CronDataIntervalTimetable(spec.cron, timezone=spec.timezone),
        start_date=spec.start_date or folder_dags.START,
        catchup=spec.catchup,
        max_active_runs=spec.max_active_runs,
        description=spec.description or f"Anomaly detection for the metric batch {spec.metric_batch}",
        doc_md=batch_doc(batch),
        tags=sorted({"anomstack", *spec.tags}),
        default_args={
            "owner": spec.owner,
            "retries": spec.retries,
            "retry_delay": timedelta(minutes=1),
            "metric_batch": spec.metric_batch,
            "metrics_dir": folder,
        },
        is_paused_upon_creation=folder_dags.PAUSED.get(spec.ingest_default_schedule_status or ""),
    )
    _add_steps(dag, spec)
    return dag


def _add_steps(dag: DAG, spec: BatchSpec) -> None:
    """
    Add the steps in a row, each of which runs whatever became of the one before it: it works on what is stored.

    One bad metric makes its step red and leaves its neighbours' alerts alone; the watch task makes the run red too.
    """
    steps: list[Any] = []
    after: dict[str, Any] = {"dag": dag, "trigger_rule": "all_done"}
    if not spec.disable_ingest:
        steps.append(AnomstackIngestOperator(task_id="ingest", dag=dag, sql=spec.ingest_sql))
    if not spec.is_off("train"):
        steps.append(_sharded(AnomstackTrainOperator, "train", spec, after))
    if not spec.is_off("score"):
        steps.append(_sharded(AnomstackScoreOperator, "score", spec, after))
    if not spec.disable_llmalert:
        steps.append(AnomstackLanguageModelOperator(task_id="llmalert", **after))
    if spec.finds:
        steps.append(AnomstackAlertOperator(task_id="alert", **after))
    if not spec.is_off("plot"):
        steps.append(AnomstackPlotOperator(task_id="plot", **after))
    for before, step in pairwise(steps):
        before >> step
    if spec.finds:
        publish = AnomstackPublishOperator(task_id="publish", **after)
        dag.get_task("alert") >> publish
        steps.append(publish)
    if len(steps) > 1:
        steps >> AnomstackWatchOperator(task_id="watch", dag=dag)


def _sharded(operator: type[AnomstackOperator], task_id: str, spec: BatchSpec, after: dict[str, Any]) -> Any:
    """Return one task, or one mapped over the batch's groups of metrics."""
    if spec.shards == 1:
        return operator(task_id=task_id, **after)
    return operator.partial(task_id=task_id, **after).expand(shard=list(range(spec.shards)))


def _stub_dag(dag_id: str, errors: list[str]) -> DAG:
    """Return a DAG in the place of a broken batch: its one task fails and says what is wrong."""
    dag = DAG(
        dag_id,
        schedule=None,
        start_date=folder_dags.START,
        description="This batch is broken: " + errors[0].splitlines()[0][:200],
        doc_md="\n\n".join(["### This metric batch cannot be read", *(f"    {line}" for line in errors)]),
        tags=["anomstack", "config-error"],
    )
    AnomstackBrokenBatchOperator(task_id="config_error", errors=errors, dag=dag)
    return dag
