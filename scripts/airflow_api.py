"""
Two questions to a local Airflow's REST API, for the demo, with the standard library alone.

    airflow_api.py healthy              exit code 0 once every component is
    airflow_api.py backfilled DAG_ID    waits until every backfill run of the DAG has ended; exit code 1 if one failed
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from functools import cache
from typing import Any

BASE = os.environ["AIRFLOW__API__BASE_URL"]
PATIENCE_S = 300


@cache
def token() -> str:
    with urllib.request.urlopen(f"{BASE}/auth/token", timeout=60) as answer:
        return str(json.load(answer)["access_token"])


def get(path: str) -> Any:
    """Return the JSON at ``path``."""
    request = urllib.request.Request(f"{BASE}/api/v2{path}", headers={"Authorization": f"Bearer {token()}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def healthy() -> int:
    health = get("/monitor/health")
    needed = ("metadatabase", "scheduler", "dag_processor")
    return 0 if all(health[name]["status"] == "healthy" for name in needed) else 1


def backfilled(dag_id: str) -> int:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        runs = get(f"/dags/{dag_id}/dagRuns?run_type=backfill")["dag_runs"]
        states = [run["state"] for run in runs]
        if states and all(state in ("success", "failed") for state in states):
            for run in sorted(runs, key=lambda run: run["data_interval_start"]):
                print(f"  {run['data_interval_start'][:10]}  {run['state']}")
            return 0 if "failed" not in states else 1
        time.sleep(3)
    print(f"the runs did not end within {PATIENCE_S} s: {states}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    commands = {"healthy": healthy, "backfilled": backfilled}
    sys.exit(commands[sys.argv[1]](*sys.argv[2:]))
