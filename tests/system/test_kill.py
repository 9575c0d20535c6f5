"""
A task that is killed at any point and tried again leaves the same rows, models that can be used, and no alert unsent.

Each try is a forked process that runs an operator as a worker does. It ends itself with SIGKILL at the n-th thing it
does to a database, a file or a mail server, or is killed from outside after a random time.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest
from airflow.sdk import DAG
from airflow.sdk.execution_time.context import OutletEventAccessors
from airflow_rig import MailBox, mail_server

from anomstack_provider import (
    AnomstackAlertOperator,
    AnomstackIngestOperator,
    AnomstackScoreOperator,
    AnomstackTrainOperator,
)

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

STEPS = {
    "ingest": AnomstackIngestOperator,
    "train": AnomstackTrainOperator,
    "score": AnomstackScoreOperator,
    "alert": AnomstackAlertOperator,
}
# What C functions do to the world; each is where a killed process leaves another state behind.
EFFECTS = {"close", "connect", "execute", "flock", "lockf", "open", "replace", "sendall", "unlink", "write"}
POINTS = 7
# Sixty days in four parts, four metrics, two of which are far out on the last day.
CONFIG = {
    "metric_batch": "b",
    "schedule": "@daily",
    "train_cron_schedule": "@daily",
    "history_start": "2024-01-06",
    "history_chunk": "20d",
    "ingest_sql": """
        SELECT day AS metric_timestamp, name AS metric_name,
            CASE WHEN name < 'c' AND day = DATE '2024-03-05' THEN 900 ELSE 100 + dayofyear(day) % 5 END AS metric_value
        FROM generate_series(
                '{{ data_interval_start }}'::TIMESTAMP, '{{ data_interval_end }}'::TIMESTAMP - INTERVAL 1 SECOND,
                INTERVAL 1 DAY
            ) AS days(day), (VALUES ('a'), ('b'), ('c'), ('d')) AS names(name)
    """,
    "preprocess_params": {"diff_n": 0, "smooth_n": 0, "lags_n": 0},
    "model_configs": [{"model_name": "KNN"}, {"model_name": "PCA"}],
    "alert_smooth_n": 0,
    "alert_threshold": 0.99,
    "disable_change": True,
    "alert_methods": "email",
    "email_to": "team@example.com",
}


def run_step(step: str, home: Path) -> None:
    """Do one task on the database and models below ``home``."""
    os.environ["AIRFLOW__ANOMSTACK__DUCKDB_PATH"] = str(home / "anomstack.duckdb")
    os.environ["AIRFLOW__ANOMSTACK__MODEL_PATH"] = str(home / "models")
    with DAG("d", schedule=None) as dag:
        task = STEPS[step](task_id=step, config=CONFIG)
    run = SimpleNamespace(
        dag_id="d",
        run_id="r",
        run_type="scheduled",
        run_after=datetime(2024, 3, 6, tzinfo=UTC),
        logical_date=datetime(2024, 3, 5, tzinfo=UTC),
        data_interval_start=datetime(2024, 3, 5, tzinfo=UTC),
        data_interval_end=datetime(2024, 3, 6, tzinfo=UTC),
    )
    context: Any = {
        "dag_run": run,
        "ti": SimpleNamespace(xcom_push=lambda key, value: None),
        "outlet_events": OutletEventAccessors(),
    }
    task.render_template_fields(context, dag.get_template_env())
    task.execute(context)


def killed_at(point: int, work: Callable[[], None]) -> int:
    """Run ``work``, ending this process before its n-th effect, counted from 1; returns how many there were."""
    effects = 0

    def count(frame: Any, event: str, called: Any) -> None:
        nonlocal effects
        file = frame.f_code.co_filename
        if event == "c_call" and called.__name__ in EFFECTS and ("anomstack_provider" in file or "smtplib" in file):
            effects += 1
            if effects == point:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)
    work()
    sys.setprofile(None)
    return effects


@dataclass(frozen=True)
class Tries:
    """Starts tries as processes and looks at what they left."""

    box: MailBox

    def start(self, work: Callable[[], Any], report: Path) -> Any:
        def guarded() -> None:
            try:
                report.write_text(json.dumps(work()))
            except BaseException:
                report.with_suffix(".error").write_text(traceback.format_exc())
                os._exit(1)
            os._exit(0)

        process = multiprocessing.get_context("fork").Process(target=guarded)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # about forking beside the mail server's thread
            process.start()
        return process

    def whole(self, home: Path, *steps: str) -> None:
        """Run steps to their end."""
        self._finish(lambda: [run_step(step, home) for step in steps], home / "whole.json")

    def count(self, home: Path, step: str) -> int:
        """Run a step to its end; returns how many effects it had."""
        return int(self._finish(lambda: killed_at(0, partial(run_step, step, home)), home / "count.json"))

    def _finish(self, work: Callable[[], Any], report: Path) -> Any:
        process = self.start(work, report)
        process.join(120)
        error = report.with_suffix(".error")
        assert process.exitcode == 0, error.read_text() if error.exists() else process.exitcode
        return json.loads(report.read_text())

    def killed(self, home: Path, step: str, point: int) -> None:
        """Run a step until its n-th effect."""
        process = self.start(lambda: killed_at(point, lambda: run_step(step, home)), home / "killed.json")
        process.join(120)
        assert process.exitcode == -signal.SIGKILL, f"{step} had fewer than {point} effects"


def rows(home: Path) -> list[tuple[Any, ...]]:
    """Return the whole metrics table, values to the bit."""
    with duckdb.connect(str(home / "anomstack.duckdb"), read_only=False) as connection:
        try:
            found = connection.execute("SELECT * FROM metrics ORDER BY ALL").fetchall()
        except duckdb.CatalogException:
            return []
    return [tuple(value.hex() if isinstance(value, float) else value for value in row) for row in found]


def marked(home: Path) -> Counter[str]:
    """Return how many deliveries have which status."""
    with duckdb.connect(str(home / "anomstack.duckdb"), read_only=False) as connection:
        try:
            return Counter(s for (s,) in connection.execute("SELECT status FROM metrics_deliveries").fetchall())
        except duckdb.CatalogException:
            return Counter()


@pytest.fixture(scope="module")
def tries() -> Iterator[Tries]:
    # Loaded once, for every process that is forked from this one.
    for module in ("messages.chart", "steps.alert", "wiring.fetch"):
        importlib.import_module(f"anomstack_provider.{module}")
    for module in ("matplotlib.backends.backend_agg", "matplotlib.figure", "pyod.models.knn", "pyod.models.pca"):
        importlib.import_module(module)
    with mail_server() as (box, connection), pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", connection)
        yield Tries(box)


@pytest.fixture(scope="module")
def stages(tries: Tries, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Path], dict[str, int]]:
    """The database and models before each step and at the end, when nothing is killed; and each step's effects."""
    folder = tmp_path_factory.mktemp("stages")
    before, effects = {}, {}
    home = folder / "start"
    home.mkdir()
    for step in STEPS:
        before[step] = home
        home = folder / f"after {step}"
        shutil.copytree(before[step], home)
        effects[step] = tries.count(home, step)
    before["end"] = home
    assert {row[3] for row in rows(home)} == {"metric", "score", "alert"}
    assert len([row for row in rows(home) if row[3] == "alert"]) == len(tries.box.mails) == 2
    return before, effects


@pytest.mark.parametrize("step", list(STEPS))
def test_a_step_killed_at_any_effect_and_tried_again_is_as_if_nothing_had_been(
    tries: Tries, stages: tuple[dict[str, Path], dict[str, int]], step: str, tmp_path: Path
) -> None:
    before, effects = stages
    chance = random.Random(step)
    width = effects[step] / POINTS
    for number in range(POINTS):
        point = 1 + int(width * (number + chance.random()))
        home = tmp_path / str(point)
        shutil.copytree(before[step], home)
        mails = len(tries.box.mails)
        tries.killed(home, step, point)
        accepted, done = len(tries.box.mails) - mails, marked(home)["sent"]
        begun = time.monotonic()
        following = list(STEPS)[list(STEPS).index(step) :]
        tries.whole(home, *following)
        assert time.monotonic() - begun < 30, "a dead process must not keep a lock"
        assert rows(home) == rows(before["end"]), f"killed at effect {point} of {step}"
        assert done <= accepted <= done + 1, "only what was just accepted may lack its mark"
        assert len(tries.box.mails) - mails == accepted + 2 - done, f"killed at effect {point} of {step}"
        assert marked(home) == Counter(sent=2)


@pytest.mark.parametrize("seed", range(4))
def test_a_run_killed_again_and_again_at_any_time_gets_there(
    tries: Tries, stages: tuple[dict[str, Path], dict[str, int]], seed: int, tmp_path: Path
) -> None:
    before, _ = stages
    home = tmp_path / "home"
    shutil.copytree(before["ingest"], home)
    chance = random.Random(seed)
    mails = len(tries.box.mails)
    for _ in range(4):
        process = tries.start(lambda: [run_step(step, home) for step in STEPS], home / "killed.json")
        process.join(chance.uniform(0.02, 1.5))
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
        process.join()
        error = home / "killed.error"
        assert not error.exists(), error.read_text()
    tries.whole(home, *STEPS)
    assert rows(home) == rows(before["end"])
    assert marked(home) == Counter(sent=2)
    sent = Counter(mail["Message-ID"] for mail in tries.box.mails[mails:])
    assert len(sent) == 2
    assert sum(sent.values()) <= 2 + 4
