"""
What holds for every test: an Airflow home of its own, none of the caller's settings, no skips in CI.

Fixtures live in the ``conftest.py`` of the folder that uses them, those of alerts and servers in ``alert_fixtures``,
databases in ``database_fixtures``, what runs DAGs in ``dag_fixtures``.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings

# How long an example takes says something of the machine, not of the code.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

pytest_plugins = [
    "tests.alert_fixtures",
    "tests.dag_fixtures",
    "tests.database_fixtures",
    "tests.llm_fixtures",
    "tests.object_store_fixtures",
]

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

if "airflow" in sys.modules:
    raise pytest.UsageError("airflow was imported before the tests could give it a home of its own")

# A developer's own Airflow or Anomstack settings must not decide a test.
for _name in [name for name in os.environ if name.startswith(("AIRFLOW", "ANOMSTACK"))]:
    del os.environ[_name]

# One per process (each pytest-xdist worker imports this file), inherited by the processes that a test starts.
_HOME = Path(tempfile.mkdtemp(prefix="anomstack-tests-"))
os.environ |= {
    "AIRFLOW_HOME": str(_HOME),
    "AIRFLOW__CORE__DAGS_FOLDER": str(_HOME / "dags"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__PARALLELISM": "4",  # more at once overruns the sqlite database on a small machine
    "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
    "MPLBACKEND": "agg",
}


def pytest_unconfigure() -> None:
    shutil.rmtree(_HOME, ignore_errors=True)


def _refuse_skip(report: Report) -> Report:
    if os.environ.get("CI") == "true" and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"Nothing is skipped in CI: install what the test needs. {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _refuse_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _refuse_skip((yield))
