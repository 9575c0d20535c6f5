"""
An executor that gives each task what the Kubernetes executor gives it, but for the cluster: a process of its own that
is told what to run and nothing else, with empty folders that are gone when it ends.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow.executors.base_executor import BaseExecutor


@dataclass(frozen=True)
class _Pod:
    process: subprocess.Popen[bytes]
    disk: Path


class PodExecutor(BaseExecutor):
    """Starts a process per task, two at a time, and looks now and then which of them have ended."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.parallelism = 2

    def start(self) -> None:
        """Start with no task running."""
        self._pods: dict[Any, _Pod] = {}

    def _process_workloads(self, workload_items: Sequence[Any]) -> None:
        for workload in workload_items:
            key = workload.ti.key
            self.queued_tasks.pop(key)
            self.running.add(key)
            self._pods[key] = _start(workload.model_dump_json())

    def sync(self) -> None:
        """Report the tasks that have ended, and remove all that they left on their disks."""
        for key, pod in list(self._pods.items()):
            if (code := pod.process.poll()) is not None:
                del self._pods[key]
                shutil.rmtree(pod.disk)
                (self.fail if code else self.success)(key)

    def end(self) -> None:
        """Wait for the tasks that run."""
        for pod in self._pods.values():
            pod.process.wait()
        self.sync()

    def terminate(self) -> None:
        """End the tasks that run."""
        for pod in self._pods.values():
            pod.process.kill()
        self.end()


def _start(workload: str) -> _Pod:
    """Run a task on a disk that holds the DAG files, as an image would, and is empty otherwise."""
    disk = Path(tempfile.mkdtemp(prefix="anomstack-pod-"))
    shutil.copytree(os.environ["AIRFLOW__CORE__DAGS_FOLDER"], disk / "dags")
    folders = {"HOME": "home", "TMPDIR": "tmp", "AIRFLOW_HOME": "airflow"}
    for folder in folders.values():
        (disk / folder).mkdir()
    own = {name: str(disk / folder) for name, folder in folders.items()}
    with (disk / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow.sdk.execution_time.execute_workload", "--json-string", workload],
            env=os.environ | own | {"AIRFLOW__CORE__DAGS_FOLDER": str(disk / "dags"), "RIG_HOST": disk.name},
            cwd=disk / "home",
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    return _Pod(process, disk)


def host() -> str:
    """Return what a worker of the tests is called: all are on one machine."""
    return os.environ.get("RIG_HOST", "localhost")
