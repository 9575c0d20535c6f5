"""What an import costs: a DAG file, a plugin or the provider list must not load a numerical library.

The lint rule TID253 sees one file at a time; here they are really imported, each group in a new process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"duckdb", "matplotlib", "numpy", "pandas", "pyod", "scipy", "sklearn", "pyarrow", "sqlglot"}
HEAVY |= {"holidays", "icalendar", "recurring_ical_events"}
# Loaded by a task only when it fits, scores or draws; the modules themselves may use numpy and pandas.
LAZY = {"matplotlib", "pyod", "sklearn"}
ROOT = "anomstack_provider"


def _modules(repository: Path, *patterns: str) -> list[str]:
    paths = sorted(path for pattern in patterns for path in (repository / ROOT).glob(pattern))
    names = [".".join(path.relative_to(repository).with_suffix("").parts) for path in paths]
    return [name.removesuffix(".__init__") for name in names]


def _loaded_by(*modules: str) -> set[str]:
    code = (
        f"import sys, json, importlib; [importlib.import_module(m) for m in {modules!r}];"
        "print(json.dumps(list(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_package_and_provider_info_load_nothing_but_the_standard_library():
    loaded = _loaded_by(ROOT, f"{ROOT}.get_provider_info")
    before = _loaded_by("sys")
    assert loaded - before - set(sys.stdlib_module_names) == {ROOT}


@pytest.mark.parametrize(
    "patterns",
    [
        ("config/*.py",),
        ("runtime/*.py",),
        ("wiring/*.py",),
        ("operators/*.py",),
        ("assets.py", "dag_factory.py"),
        ("cli*.py",),
        ("airflow_cli.py",),
        ("ui/plugin.py",),
        ("messages/message.py", "delivery/sending.py", "delivery/channels/*.py"),
    ],
    ids=lambda patterns: patterns[0],
)
def test_what_a_dag_file_can_reach_loads_no_heavy_library(repository: Path, patterns: tuple[str, ...]):
    modules = _modules(repository, *patterns)
    assert modules
    assert _loaded_by(*modules) & HEAVY == set()


def test_what_a_task_imports_loads_no_detector_and_no_plotting(repository: Path):
    modules = _modules(
        repository,
        "store/*.py",
        "detection/*.py",
        "steps/*.py",
        "artifacts/*.py",
        "alerting/*.py",
        "messages/*.py",
        "delivery/*.py",
    )
    # Detectors are classes of PyOD: detection.detectors imports them when a config names one.
    modules = [name for name in modules if not name.startswith(f"{ROOT}.detection.series_detector")]
    assert len(modules) > 5
    assert _loaded_by(*modules) & LAZY == set()
