"""Airflow's API server with the plugin, its users, and batches whose rows are in DuckDB files."""

from __future__ import annotations

import html
import json
import os
import re
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
from datetime import UTC, timedelta
from email.message import Message
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from anomstack_provider.artifacts.model_store import open_model_store
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.alert import alert
from anomstack_provider.steps.score import score
from anomstack_provider.steps.train import train
from anomstack_provider.store.hooks import EmbeddedDuckDBHook
from anomstack_provider.store.metric_store import MetricStore

REPOSITORY = Path(__file__).resolve().parents[2]
HOSTILE = (
    "<script>alert('x')</script>",
    "a/b?c=d&e#f",
    "../../etc",
    "\u0637\u0644\u0628\u0627\u062a",
    "{{ 7 * 7 }} %s 🎉",
    "long " + "x" * 195,
)
ODD_NAME = "o'r/d\"e;rs 🎉 %s $x"
USERS = {"ann": "admin", "otto": "op", "ute": "user", "vera": "viewer", "nina": "user"}

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
BOARD = """
    metric_batch: board
    schedule: "@daily"
    freshness: "off"
    alert_recent_n: 40
    metric_settings: {spiked: {title: Orders in the north, unit: EUR}}
    ingest_sql: SELECT 1
"""
OWN = """
    metric_batch: own
    schedule: "@daily"
    conn_id: warehouse
    ingest_sql: SELECT 1
    dashboard_sql: >
      SELECT metric_timestamp, 'doubled' AS metric_name, 2 * metric_value AS metric_value FROM {{ table_key }}
      WHERE metric_batch = 'kept' AND metric_type = 'metric' AND metric_name = 'orders'
"""
HIDDEN = """
    metric_batch: hidden
    schedule: "@daily"
    disable_dashboard: true
    ingest_sql: SELECT 1
"""
# Airflow's own auth manager, but for one user, who may see a single DAG.
AUTH_MANAGER = """
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    class Limited(SimpleAuthManager):
        def is_authorized_dag(self, *, user, details=None, **kwargs):
            if user.get_name() == "nina" and details is not None and details.id not in (None, "anomstack_kept"):
                return False
            return super().is_authorized_dag(user=user, details=details, **kwargs)
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
class Page:
    """A page as a browser gets it."""

    status: int
    text: str
    headers: Message

    def headings(self) -> list[str]:
        """Return the text of what the page lists, in order."""
        return [html.unescape(found) for found in re.findall(r"<h2><a [^>]*><bdi>(.*?)</bdi>", self.text)]


@dataclass
class Server:
    """A running API server on ``home``."""

    home: Path
    url: str
    tokens: dict[str, str]
    store: MetricStore
    board: MetricStore

    def call(self, method: str, path: str, user: str | None = "ann", body: Any = None) -> Answer:
        """Call as a user, None for nobody; a body that is bytes is sent as it is."""
        return call(self.url + path, method, None if user is None else self.tokens[user], body)

    def page(self, path: str, user: str | None = "vera", **query: Any) -> Page:
        """Get a page of the dashboard, such as ``batch``."""
        url = f"{self.url}/anomstack/ui/{path}?{urllib.parse.urlencode(query)}"
        headers = {} if user is None else {"Cookie": f"_token={self.tokens[user]}"}
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
                return Page(answer.status, answer.read().decode(), answer.headers)
        except urllib.error.HTTPError as error:
            return Page(error.code, error.read().decode(), error.headers)

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
        "AIRFLOW__CORE__AUTH_MANAGER": "limited.Limited",
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(home)]),
    }


def _write_folder(home: Path) -> None:
    batches = {"shop": SHOP, "lost": LOST, "kept": KEPT, "board": BOARD, "own": OWN, "hidden": HIDDEN}
    for name, text in batches.items():
        path = home / "dags" / "metrics" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), "utf-8")
    shutil.copy(REPOSITORY / "example_dags" / "anomstack_dags.py", home / "dags")
    (home / "dags" / "hand.py").write_text(textwrap.dedent(HAND), "utf-8")
    (home / "limited.py").write_text(textwrap.dedent(AUTH_MANAGER), "utf-8")
    (home / "passwords.json").write_text(json.dumps({name: f"pw-{name}" for name in USERS}), "utf-8")


def _put_rows(database: Path, batch: str) -> MetricStore:
    store = MetricStore(EmbeddedDuckDBHook(database), "metrics", batch)
    times = pd.date_range("2024-01-01", periods=60, freq="1D", tz="Europe/Berlin")
    for name in ("orders", ODD_NAME):
        values = np.random.default_rng(3).normal(100, 5, len(times))
        rows = {"metric_name": name, "metric_type": "metric", "metric_timestamp": times, "metric_value": values}
        store.replace(pd.DataFrame({**rows, "metadata": None}))
    return store


def _put_board(home: Path) -> MetricStore:
    """Store metrics up to yesterday with names of every kind, run the steps, and add alerts of another tool."""
    spec = BatchSpec.model_validate(yaml.safe_load(BOARD))
    store = MetricStore(EmbeddedDuckDBHook(home / "metrics.duckdb"), "metrics", "board")
    today = pd.Timestamp.now("UTC").normalize().tz_localize(None)
    for number, name in enumerate(["spiked", "planted", "gone", *HOSTILE, *(f"calm {k:02d}" for k in range(30))]):
        values = np.random.default_rng(number).normal(100, 5, 60)
        if name == "spiked":
            values[-3] += 100
        end = today - pd.Timedelta(days=30 if name == "gone" else 1)
        times = pd.date_range(end=end, periods=60, freq="1D").to_numpy("datetime64[us]")
        rows = {"metric_name": name, "metric_type": "metric", "metric_timestamp": times, "metric_value": values}
        store.replace(pd.DataFrame({**rows, "metadata": None}))
    moment = today.to_pydatetime().replace(tzinfo=UTC)
    window = RunWindow(moment - timedelta(days=10), moment)
    models = open_model_store("models", str(home))
    for step in (train, score, alert):
        step(spec, window, store, models)
    times = pd.date_range(end=today, periods=46, freq="1D").to_numpy("datetime64[us]")[:-1]
    planted = {"metric_name": "planted", "metric_type": "alert", "metric_timestamp": times, "metric_value": 1.0}
    store.replace(pd.DataFrame({**planted, "metadata": None}))
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
    board = _put_board(home)
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
        yield Server(home, url, _tokens(url, process, log), store, board)
    finally:
        for signum in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, signum)
                process.wait(15)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
