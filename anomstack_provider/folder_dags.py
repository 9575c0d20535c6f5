"""
The DAGs that are about all batches of a folder: its health, what is told of a day, what is deleted, what is checked.

Built while Airflow parses, as ``dag_factory`` is: no database, connection, pandas or PyOD.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from airflow.sdk import DAG

from anomstack_provider.config.crons import cron_expression
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.delivery.channels import Channel, Unconfigured, open_channels
from anomstack_provider.operators.check import AnomstackCheckOperator
from anomstack_provider.operators.delete import AnomstackDeleteOperator
from anomstack_provider.operators.health import AnomstackHealthOperator
from anomstack_provider.operators.summary import AnomstackSummaryOperator
from anomstack_provider.runtime.airflow_compat import CronDataIntervalTimetable

# Long before any metric that a new batch would load by itself; `catchup` is off unless a batch turns it on.
START = datetime(2020, 1, 1, tzinfo=UTC)
PAUSED = {"RUNNING": False, "STOPPED": True}
HEALTH, CHECK = "health_of_config", "check_of_batches"
_SUMMARY, _DELETE = "summary_of_batches", "delete_of_batches"
# Of batches that say nothing of it; the DAG of this schedule has the plain name.
_SUMMARY_CRON, _DELETE_CRON = "0 9 * * *", "0 6 * * *"
# Once a day, before people come and after most sources are loaded.
_CHECK_CRON = "30 6 * * *"

# Cron of five fields, timezone, and whether the DAG starts paused as RUNNING or STOPPED say.
When: TypeAlias = tuple[str, str, str | None]
Maker: TypeAlias = Callable[[str, str, Sequence[BatchSpec], Mapping[str, str]], dict[str, DAG]]


def is_reserved(name: str) -> bool:
    """Tell whether a name, without the prefix of the folder, is that of one of these DAGs, or may be."""
    # Those of other schedules have names that only begin like this.
    return name in (HEALTH, CHECK) or name.startswith((_SUMMARY, _DELETE))


def health_dag(dag_id: str, folder: str, problems: list[str], refused: list[str]) -> DAG:
    """
    Return the DAG that fails while any batch of the folder is broken.

    :param refused: those of the problems that only building the DAGs shows.
    """
    dag = DAG(
        dag_id,
        schedule="@hourly",
        start_date=START,
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,  # a watchman who has to be woken is none
        description="Fails while a file of the metrics folder is broken, and names it",
        doc_md="### Files of the metrics folder that cannot be read\n\n"
        + ("\n".join(f"    {line}" for line in problems) or "None."),
        tags=["anomstack", *(["config-error"] if problems else [])],
    )
    AnomstackHealthOperator(task_id="check", metrics_dir=folder, refused=refused, dag=dag)
    return dag


def check_dags(prefix: str, folder: str, specs: Sequence[BatchSpec], names: Mapping[str, str]) -> dict[str, DAG]:
    """Return the DAG that asks once a day whether all that the batches need works."""
    if not specs:
        return {}
    when = (_CHECK_CRON, "UTC", "RUNNING")
    dag = _dag(f"{prefix}{CHECK}", when, "Fails if a database, model store or channel of a batch does not work", 1)
    AnomstackCheckOperator(task_id="check", metrics_dir=folder, cron=_CHECK_CRON, dag=dag)
    return {dag.dag_id: dag}


def delete_dags(prefix: str, folder: str, specs: Sequence[BatchSpec], names: Mapping[str, str]) -> dict[str, DAG]:
    """Return a DAG per time at which old rows are deleted, with a task per batch."""
    together: dict[When, list[BatchSpec]] = {}
    for spec in specs:
        if not spec.disable_delete:
            when: When = (
                cron_expression(spec.delete_cron_schedule),
                spec.timezone,
                spec.delete_default_schedule_status,
            )
            together.setdefault(when, []).append(spec)
    dags = {}
    for schedule, of_schedule in together.items():
        dag_id = _dag_id(f"{prefix}{_DELETE}", schedule, _DELETE_CRON)
        dag = _dag(dag_id, schedule, "Deletes rows, finished deliveries and models past their age, of every batch")
        for spec in of_schedule:
            AnomstackDeleteOperator(
                task_id=names[spec.metric_batch],
                metric_batch=spec.metric_batch,
                metrics_dir=folder,
                owner=spec.owner,
                retries=spec.retries,
                dag=dag,
            )
        dags[dag_id] = dag
    return dags


def summary_dags(prefix: str, folder: str, specs: Sequence[BatchSpec], names: Mapping[str, str]) -> dict[str, DAG]:
    """Return a DAG per time at which summaries are sent, with a task per destination: each is tried again alone."""
    together: dict[When, list[BatchSpec]] = {}
    for spec in specs:
        if not spec.disable_summary:
            when: When = (
                cron_expression(spec.summary_cron_schedule),
                spec.timezone,
                spec.summary_default_schedule_status,
            )
            together.setdefault(when, []).append(spec)
    dags = {}
    for schedule, of_schedule in together.items():
        dag_id = _dag_id(f"{prefix}{_SUMMARY}", schedule, _SUMMARY_CRON)
        if destinations := _destinations(of_schedule):
            dags[dag_id] = _summary_dag(dag_id, folder, schedule, of_schedule[0].retries, destinations)
    return dags


# Each of them may fail alone: what it makes, for the message that says so.
MAKERS: Mapping[str, Maker] = {"summary": summary_dags, "deleting": delete_dags, "check": check_dags}


def _dag(dag_id: str, when: When, description: str, retries: int = 0) -> DAG:
    cron, timezone, status = when
    return DAG(
        dag_id,
        schedule=CronDataIntervalTimetable(cron, timezone=timezone),
        start_date=START,
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=PAUSED.get(status or ""),
        default_args={"retries": retries, "retry_delay": timedelta(minutes=1)},
        description=description,
        tags=["anomstack"],
    )


def _dag_id(name: str, when: When, usual: str) -> str:
    """Return the plain name for the usual schedule, one with a hash for another."""
    if when == (usual, "UTC", None):
        return name
    digest = hashlib.sha256(" ".join(part for part in when if part).encode()).hexdigest()[:8]
    return f"{name}_{digest}"


def _destinations(specs: Iterable[BatchSpec]) -> list[tuple[Channel, str, list[str]]]:
    """Return each channel that any of the batches sends to, its name, and the names of the batches that share it."""
    found: list[tuple[Channel, str, list[str]]] = []
    for spec in specs:
        for method, channel in open_channels(spec.model_copy(update={"routes": ()})).items():
            if method not in spec.alert_methods or isinstance(channel, Unconfigured):
                continue
            known = next((names for other, _, names in found if other == channel), None)
            if known is None:
                found.append((channel, method, [spec.metric_batch]))
            else:
                known.append(spec.metric_batch)
    return found


def _summary_dag(
    dag_id: str, folder: str, when: When, retries: int, destinations: list[tuple[Channel, str, list[str]]]
) -> DAG:
    told = "Tells each channel what happened to its batches, and what was not evaluated"
    dag = _dag(dag_id, when, told, retries)
    for number, (_, method, batches) in enumerate(destinations):
        task_id = f"send_{number}_{re.sub(r'[^A-Za-z0-9_.-]+', '_', method)[:100]}"
        AnomstackSummaryOperator(
            task_id=task_id,
            batches=batches,
            method=method,
            metrics_dir=folder,
            cron=when[0],
            timezone=when[1],
            dag=dag,
        )
    return dag
