"""Use the running compose project as a person would: through its published ports, with nothing but Python.

Called by ``scripts/compose_test.sh``, which sets ``COMPOSE_COMMAND`` and the variables of ``.env``. Prints
what it saw. Raises, and so exits non-zero, at the first thing that is not as it should be.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from email import message_from_bytes, policy
from typing import Any, TypeVar

AIRFLOW = f"http://127.0.0.1:{os.environ.get('AIRFLOW_PORT') or 8080}"
MAIL = f"http://127.0.0.1:{os.environ.get('MAIL_PORT') or 8025}"
RECIPIENT = os.environ.get("EMAIL_TO") or "you@example.com"
DAG_ID = "anomstack_flights"

# On 8 and 9 February 2013 a blizzard cancelled most flights from New York. A run with one of these logical
# dates owns the newest day that was over by then: together the two days, the one before and the one after.
LOGICAL_DATES = [f"2013-02-{day:02d}T12:00:00Z" for day in (8, 9, 10, 11)]
BLIZZARD = ("2013-02-08", "2013-02-09")
BLIZZARD_IN_MAIL = ("8 Feb", "9 Feb")

# Runs in the scheduler's container, the one place where the DuckDB file can be opened.
COUNT_ROWS = """
import json, os, duckdb
connection = duckdb.connect(os.environ["AIRFLOW__ANOMSTACK__DUCKDB_PATH"], read_only=True)
kinds = connection.execute(
    "SELECT metric_type, count(*), min(metric_timestamp)::text, max(metric_timestamp)::text"
    " FROM metrics WHERE metric_batch = 'flights' GROUP BY ALL ORDER BY ALL").fetchall()
alerts = connection.execute(
    "SELECT metric_name, metric_timestamp::text FROM metrics"
    " WHERE metric_batch = 'flights' AND metric_type = 'alert' ORDER BY ALL").fetchall()
digest = connection.execute(
    "SELECT md5(string_agg(row_text, chr(10) ORDER BY row_text))"
    " FROM (SELECT metrics::text AS row_text FROM metrics)").fetchone()
print(json.dumps({"kinds": kinds, "alerts": alerts, "digest": digest[0]}))
"""

Answer = TypeVar("Answer")


class Refused(Exception):
    """The server answered with an HTTP error; the message is what it said."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"HTTP {status}: {text}")
        self.status = status


def http(url: str, body: Any = None, *, method: str | None = None, token: str | None = None) -> bytes:
    """Return the body of the answer."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    try:
        request = urllib.request.Request(url, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        raise Refused(error.code, f"{url}: {error.read().decode(errors='replace')[:2000]}") from error


def wait(what: str, seconds: float, look: Callable[[], Answer | None]) -> Answer:
    """Return the first true answer of `look`."""
    deadline = time.monotonic() + seconds
    while not (answer := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(1)
    return answer


class Airflow:
    """The REST API with the token of the account of ``.env``."""

    def __init__(self) -> None:
        account = {
            "username": os.environ.get("ADMIN_USER") or "admin",
            "password": os.environ["ADMIN_PASSWORD"],
        }
        self._token = json.loads(http(f"{AIRFLOW}/auth/token", account))["access_token"]

    def call(self, path: str, body: Any = None, method: str | None = None) -> Any:
        return json.loads(http(f"{AIRFLOW}/api/v2{path}", body, method=method, token=self._token))

    def run_ended(self, run_id: str) -> str | None:
        state = str(self.call(f"/dags/{DAG_ID}/dagRuns/{run_id}")["state"])
        return state if state in ("success", "failed") else None

    def finish(self, run_id: str) -> str:
        """Wait for the run and return its tasks with their states; raise with the task logs if it failed."""
        state = wait(f"run {run_id}", 300, lambda: self.run_ended(run_id))
        tasks = self.call(f"/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances")["task_instances"]
        summary = ", ".join(f"{task['task_id']} {task['state']}" for task in tasks)
        if state != "success":
            for task in tasks:
                if task["state"] == "failed":
                    self.print_log(run_id, task["task_id"], task["try_number"])
            raise AssertionError(f"run {run_id} ended as {state}: {summary}")
        return summary

    def print_log(self, run_id: str, task_id: str, try_number: int) -> None:
        path = f"/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}?full_content=true"
        print(f"log of {task_id} in {run_id}, try {try_number}:")
        for line in self.call(path)["content"]:
            print(f"    {line.get('level', '')} {line['event']}")
            for error in line.get("error_detail") or []:
                print(f"    {error['exc_type']}: {error['exc_value']}")


def rows() -> dict[str, Any]:
    command = [
        *shlex.split(os.environ["COMPOSE_COMMAND"]),
        "exec",
        "-T",
        "scheduler",
        "python",
        "-c",
        COUNT_ROWS,
    ]
    answer: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return answer


def mails() -> list[dict[str, Any]]:
    listing: list[dict[str, Any]] = json.loads(http(f"{MAIL}/api/v1/messages?limit=200"))["messages"]
    return listing


def refusal(url: str, body: Any) -> int | None:
    try:
        http(url, body)
    except Refused as error:
        return error.status
    return None


def check_access() -> None:
    """The page is there, and the API is closed to those without a token or with a wrong password."""
    assert b"<html" in http(f"{AIRFLOW}/").lower()
    for url, body in (
        (f"{AIRFLOW}/api/v2/dags", None),
        (f"{AIRFLOW}/auth/token", {"username": "admin", "password": "not the password"}),
    ):
        assert refusal(url, body) == 401, f"{url} answers anybody"
    print("the web page answers; the API is closed without a token and with a wrong password")


def check_components() -> None:
    def all_healthy() -> dict[str, Any] | None:
        health = json.loads(http(f"{AIRFLOW}/api/v2/monitor/health"))
        return health if all(part["status"] == "healthy" for part in health.values()) else None

    print("healthy: " + ", ".join(wait("health of all components", 120, all_healthy)))


def run_demo(airflow: Airflow) -> list[str]:
    """Run the blizzard's days one after the other and return the ids of these runs."""
    dag_ids = {DAG_ID}
    wait(f"the DAG {DAG_ID}", 120, lambda: dag_ids <= {dag["dag_id"] for dag in airflow.call("/dags")["dags"]})
    assert airflow.call("/importErrors")["import_errors"] == []
    airflow.call(f"/dags/{DAG_ID}", {"is_paused": False}, "PATCH")
    runs = []
    for logical_date in LOGICAL_DATES:
        started = time.monotonic()
        run = airflow.call(f"/dags/{DAG_ID}/dagRuns", {"logical_date": logical_date})
        summary = airflow.finish(run["dag_run_id"])
        interval = f"{run['data_interval_start']} to {run['data_interval_end']}"
        print(f"run of {interval}: {summary} ({time.monotonic() - started:.1f} s)")
        runs.append(run["dag_run_id"])
    # Switching the DAG on has also made the scheduler start the run of the newest interval of the calendar.
    for run in airflow.call(f"/dags/{DAG_ID}/dagRuns")["dag_runs"]:
        if run["dag_run_id"] not in runs:
            print(f"run of the schedule, {run['dag_run_id']}: {airflow.finish(run['dag_run_id'])}")
    return runs


def check_rows() -> dict[str, Any]:
    seen = rows()
    for kind, count, first, last in seen["kinds"]:
        print(f"metrics table: {count:6d} rows of type {kind}, {first} to {last}")
    assert {"metric", "score", "alert"} <= {kind for kind, *_ in seen["kinds"]}, "a step wrote no row"
    alerts = [(name, moment) for name, moment in seen["alerts"] if moment.startswith(BLIZZARD)]
    assert alerts, f"no alert on the days of the blizzard, only {seen['alerts']}"
    return seen


def check_mail() -> int:
    """Every mail is for the configured address and carries a chart; one of them is about the blizzard."""
    listing = wait("mail in the mail catcher", 30, mails)
    subjects = []
    about_the_blizzard = 0
    for summary in listing:
        mail = message_from_bytes(http(f"{MAIL}/api/v1/message/{summary['ID']}/raw"), policy=policy.default)
        charts = [part.get_payload(decode=True) for part in mail.walk() if part.get_content_type() == "image/png"]
        assert charts, f"no chart in {summary['Subject']!r}"
        assert all(isinstance(chart, bytes) and chart.startswith(b"\x89PNG\r\n\x1a\n") for chart in charts)
        assert RECIPIENT in [to["Address"] for to in summary["To"]], summary["To"]
        about_the_blizzard += any(day in summary["Subject"] for day in BLIZZARD_IN_MAIL)
        subjects.append(f"{summary['Subject']} ({sum(map(len, charts)) // 1024} kB of chart)")
    for subject in sorted(subjects):
        print(f"mail: {subject}")
    assert about_the_blizzard, f"no subject names one of the days {BLIZZARD_IN_MAIL}"
    return len(listing)


def check_again(airflow: Airflow, run_id: str, before: dict[str, Any], sent: int) -> None:
    """Clearing a run that alerted leaves the same rows and sends nothing a second time."""
    airflow.call(f"/dags/{DAG_ID}/clearTaskInstances", {"dry_run": False, "dag_run_id": run_id, "only_failed": False})
    summary = airflow.finish(run_id)
    after = rows()
    assert after["digest"] == before["digest"], f"the second time left other rows: {before} {after}"
    assert len(mails()) == sent, "the second time sent mail again"
    print(f"cleared and run again: {summary}; the same rows byte for byte, no second mail")


if __name__ == "__main__":
    check_access()
    check_components()
    api = Airflow()
    runs = run_demo(api)
    seen = check_rows()
    number = check_mail()
    check_again(api, runs[1], seen, number)
