"""Airflow's API server with the plugin, four users and a batch whose rows are in a DuckDB file."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anomstack_provider.store.hooks import EmbeddedDuckDBHook
from anomstack_provider.store.metric_store import MetricStore

REPOSITORY = Path(__file__).resolve().parents[2]
ODD_NAME = "o'r/d\"e;rs 🎉 %s $x"
USERS = {"ann": "admin", "otto": "op", "ute": "user", "vera": "viewer"}

SHOP = """
    metric_batch: shop
    schedule: "@daily"
    timezone: Europe/Berlin
    ingest_sql: SELECT 1
"""
LOST = """
    metric_batch: lost
    schedule: "@daily"
    conn_id: nowhere
    ingest_sql: SELECT 1
"""
KEPT = """
    metric_batch: kept
    schedule: "@daily"
    conn_id: warehouse
    ingest_sql: SELECT 1
"""
HAND = """
    from airflow.sdk import DAG
    from anomstack_provider import AnomstackAlertOperator

    BATCH = {"metric_batch": "shop", "schedule": "@daily", "timezone": "Europe/Berlin", "ingest_sql": "SELECT 1"}

    with DAG("says_it", schedule=None, default_args={"config": BATCH}):
        AnomstackAlertOperator(task_id="alert")
    with DAG("says_nothing", schedule=None):
        AnomstackAlertOperator(task_id="alert", config=BATCH)
"""


@dataclass
class Answer:
    """What the server answered."""

    status: int
    body: Any


@dataclass
class Server:
    """A running API server on ``home``."""

    home: Path
    url: str
    tokens: dict[str, str]
    store: MetricStore

    def call(self, method: str, path: str, user: str | None = "ann", body: Any = None) -> Answer:
        """Call as a user, None for nobody; a body that is bytes is sent as it is."""
        return call(self.url + path, method, None if user is None else self.tokens[user], body)

    def judge(self, user: str | None = "ute", dag_id: str = "anomstack_shop", **more: Any) -> Answer:
        body = {"metric_name": "orders", "bucket": "2024-02-20", "verdict": "real", **more}
        return self.call("POST", f"/anomstack/feedback/{urllib.parse.quote(dag_id, safe='')}", user, body)

    def listed(self, user: str | None = "vera", dag_id: str = "anomstack_shop") -> Answer:
        return self.call("GET", f"/anomstack/feedback/{urllib.parse.quote(dag_id, safe='')}", user)


def call(url: str, method: str, token: str | None = None, body: Any = None) -> Answer:
    data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    request = urllib.request.Request(url, method=method, data=data, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return Answer(answer.status, json.loads(answer.read() or b"null"))
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace")
        return Answer(error.code, json.loads(text) if text.startswith(("{", "[")) else text)


def _environment(home: Path, port: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "ANOMSTACK"))}
    return {
        **kept,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in USERS.items()),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": "of-this-test-alone-" + "x" * 48,
        "AIRFLOW__ANOMSTACK__DUCKDB_PATH": str(home / "metrics.duckdb"),
        "PYTHONPATH": str(REPOSITORY),
    }


def _write_folder(home: Path) -> None:
    for name, text in {"shop.yaml": SHOP, "lost.yaml": LOST, "kept.yaml": KEPT}.items():
        path = home / "dags" / "metrics" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), "utf-8")
    shutil.copy(REPOSITORY / "example_dags" / "anomstack_dags.py", home / "dags")
    (home / "dags" / "hand.py").write_text(textwrap.dedent(HAND), "utf-8")
    (home / "passwords.json").write_text(json.dumps({name: f"pw-{name}" for name in USERS}), "utf-8")


def _put_rows(database: Path, batch: str) -> MetricStore:
    store = MetricStore(EmbeddedDuckDBHook(database), "metrics", batch)
    times = pd.date_range("2024-01-01", periods=60, freq="1D", tz="Europe/Berlin")
    for name in ("orders", ODD_NAME):
        values = np.random.default_rng(3).normal(100, 5, len(times))
        rows = {"metric_name": name, "metric_type": "metric", "metric_timestamp": times, "metric_value": values}
        store.replace(pd.DataFrame({**rows, "metadata": None}))
    return store


def _airflow(variables: Mapping[str, str], home: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "airflow", *arguments]
    done = subprocess.run(command, env=variables, cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"


def _tokens(url: str, server: subprocess.Popen[bytes], log: Path) -> dict[str, str]:
    """Log every user in, once the server answers."""
    deadline = time.monotonic() + 120
    while True:
        assert server.poll() is None, log.read_text(errors="replace")[-3000:]
        assert time.monotonic() < deadline, log.read_text(errors="replace")[-3000:]
        try:
            answers = {
                name: call(f"{url}/auth/token", "POST", body={"username": name, "password": f"pw-{name}"})
                for name in USERS
            }
        except OSError:
            time.sleep(0.5)
            continue
        assert {answer.status for answer in answers.values()} == {201}, answers
        return {name: answer.body["access_token"] for name, answer in answers.items()}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("api")
    _write_folder(home)
    store = _put_rows(home / "metrics.duckdb", "shop")
    _put_rows(home / "warehouse.duckdb", "kept")
    with socket.create_server(("127.0.0.1", 0)) as opened:
        port = opened.getsockname()[1]
    variables = _environment(home, port)
    _airflow(variables, home, "db", "migrate")
    _airflow(variables, home, "dags", "reserialize")
    # Kept in Airflow's database, where the server has to look it up.
    place = str(home / "warehouse.duckdb")
    _airflow(variables, home, "connections", "add", "warehouse", "--conn-type", "duckdb", "--conn-host", place)
    log = home / "api.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow", "api-server"],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=variables,
            cwd=home,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        yield Server(home, url, _tokens(url, process, log), store)
    finally:
        for signum in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, signum)
                process.wait(15)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
