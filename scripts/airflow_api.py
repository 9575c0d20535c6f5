"""
A few calls of Airflow's REST API for the demo, with the standard library alone.

    airflow_api.py healthy                      exit code 0 once every component is
    airflow_api.py unpause DAG_ID               waits until the DAG is known
    airflow_api.py backfill DAG_ID FROM TO      runs it and waits; exit code 1 if a run failed
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
from typing import Any

BASE = os.environ["AIRFLOW__API__BASE_URL"]
PATIENCE_S = 150


def call(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """Send a request with a fresh token and return its JSON."""
    with urllib.request.urlopen(f"{BASE}/auth/token", timeout=10) as answer:
        token = json.load(answer)["access_token"]
    request = urllib.request.Request(
        f"{BASE}/api/v2{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            # 503: the metadata database, SQLite here, was locked for a moment.
            if error.code != 503 or time.monotonic() > deadline:
                raise
            time.sleep(1)


def healthy() -> int:
    with urllib.request.urlopen(f"{BASE}/api/v2/monitor/health", timeout=5) as answer:
        health = json.load(answer)
    needed = ("metadatabase", "scheduler", "dag_processor")
    return 0 if all(health[name]["status"] == "healthy" for name in needed) else 1


def unpause(dag_id: str) -> int:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            call("PATCH", f"/dags/{dag_id}", {"is_paused": False})
            return 0
        except urllib.error.HTTPError as error:
            if error.code != 404 or time.monotonic() > deadline:
                raise
            time.sleep(1)


def backfill(dag_id: str, start: str, end: str) -> int:
    body = {"dag_id": dag_id, "from_date": start, "to_date": end, "reprocess_behavior": "completed"}
    call("POST", "/backfills", body)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        query = f"?run_type=backfill&logical_date_gte={start}&logical_date_lte={end}"
        runs = call("GET", f"/dags/{dag_id}/dagRuns{query}")["dag_runs"]
        states = [run["state"] for run in runs]
        if states and all(state in ("success", "failed") for state in states):
            for run in sorted(runs, key=lambda run: run["logical_date"]):
                print(f"  {run['logical_date'][:10]}  {run['state']}")
            return 0 if "failed" not in states else 1
        time.sleep(1)
    print(f"the runs did not end within {PATIENCE_S} s: {states}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    commands = {"healthy": healthy, "unpause": unpause, "backfill": backfill}
    sys.exit(commands[sys.argv[1]](*sys.argv[2:]))
