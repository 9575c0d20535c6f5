"""What ``pip install`` of the built wheel brings, seen from an environment without the source tree."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from packaging.version import Version

from anomstack_provider import __version__

PROVIDER = "anomstack-provider"


def _airflow_version(installation) -> Version:
    text = installation.python("-c", "from importlib.metadata import version; print(version('apache-airflow'))")
    return Version(text.stdout.strip())


def test_every_file_of_the_source_is_in_the_wheel_and_nothing_else(repository: Path, wheel: Path):
    source = {
        f"{package}/{path.relative_to(repository / folder).as_posix()}"
        for folder, package in (
            ("anomstack_provider", "anomstack_provider"),
            ("example_dags", "anomstack_provider/example_dags"),
        )
        for path in (repository / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert shipped == source


@pytest.mark.parametrize(
    "pattern", ["config/defaults.yaml", "store/sql/*.sql", "example_dags/anomstack_dags.py", "py.typed"]
)
def test_data_files_are_installed_beside_the_code(installation, pattern: str):
    code = (
        "import sys, pathlib, anomstack_provider;"
        "home = pathlib.Path(anomstack_provider.__file__).parent;"
        f"print(home.is_relative_to(sys.prefix), len(list(home.glob({pattern!r}))))"
    )
    in_environment, count = installation.python("-c", code).stdout.split()
    assert in_environment == "True"
    assert int(count) >= 1


def test_airflow_loads_the_examples_but_not_the_file_to_copy(installation):
    """Airflow 3.3 makes a bundle of a provider's example DAGs; a second copy would take the ids of the user's own."""
    code = """
import pathlib, anomstack_provider
from airflow.utils.file import list_py_file_paths
folder = pathlib.Path(anomstack_provider.__file__).parent / "example_dags"
loaded = [pathlib.Path(path).name for path in list_py_file_paths(folder, safe_mode=True)]
print("FOUND", sorted(path.name for path in folder.glob("*.py")), sorted(loaded))
"""
    examples = ["anomaly_gate.py", "anomaly_notifier.py", "anomaly_response.py", "operators_by_hand.py"]
    assert f"FOUND {sorted([*examples, 'anomstack_dags.py'])} {examples}" in installation.python("-c", code).stdout


def test_licence_is_in_the_wheel(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("licenses/LICENSE"))
        assert "Apache License" in archive.read(name).decode()


def test_entry_points_load(installation):
    code = """
import json
from importlib.metadata import distribution
points = {f"{p.group}:{p.name}": p.load() for p in distribution("anomstack-provider").entry_points}
plugin = points["airflow.plugins:anomstack"]
print(json.dumps({
    "names": sorted(points),
    "plugin": plugin.name,
    "bases": [base.__name__ for base in plugin.__mro__],
    "info": points["apache_airflow_provider:provider_info"]()["package-name"],
    "main": callable(points["console_scripts:anomstack"]),
}))
"""
    found = json.loads(installation.python("-c", code).stdout)
    assert found["names"] == [
        "airflow.plugins:anomstack",
        "apache_airflow_provider:provider_info",
        "console_scripts:anomstack",
    ]
    assert found["plugin"] == "anomstack"
    assert "AirflowPlugin" in found["bases"]
    assert found["info"] == PROVIDER
    assert found["main"]


def test_airflow_lists_the_provider_with_its_version(installation):
    listed = json.loads(installation.python("-m", "airflow", "providers", "list", "-o", "json").stdout)
    assert [row["version"] for row in listed if row["package_name"] == PROVIDER] == [__version__]


def test_airflow_discovers_it_without_a_complaint(installation):
    code = """
import logging
logging.basicConfig(level=logging.WARNING)
from airflow.providers_manager import ProvidersManager
manager = ProvidersManager()
manager.initialize_providers_configuration()
from airflow import plugins_manager
plugins_manager.ensure_plugins_loaded()
get = getattr(plugins_manager, "_get_plugins", None)  # 3.2 moved the module's state behind a cached function
plugins, errors = get() if get else (plugins_manager.plugins, plugins_manager.import_errors)
print("PLUGINS", sorted(p.name for p in plugins if "anomstack" in p.name), "ERRORS", errors)
"""
    done = installation.python("-c", code)
    assert "PLUGINS ['anomstack'] ERRORS {}" in done.stdout
    assert "anomstack" not in done.stderr.lower()


def test_airflow_knows_the_config_section_and_its_defaults(installation):
    done = installation.python("-m", "airflow", "config", "get-value", "anomstack", "duckdb_path")
    assert done.stdout.splitlines()[-1] == "anomstack.duckdb"
    listed = installation.python("-m", "airflow", "config", "list", "--section", "anomstack", "--defaults").stdout
    assert "AIRFLOW__ANOMSTACK__METRICS_DIR" in listed


def test_console_script_runs(installation):
    assert "preview" in installation.python(str(installation.root / "bin" / "anomstack"), "--help").stdout


def test_airflow_command_is_the_console_script(installation):
    """Airflow 3.2 and later give it every argument unread; 3.1 passes over the ``cli`` key."""
    command = ("-m", "airflow", "anomstack", "preview", "--help")
    if _airflow_version(installation) >= Version("3.2"):
        script = installation.python(str(installation.root / "bin" / "anomstack"), "preview", "--help")
        assert "--start" in script.stdout
        assert script.stdout in installation.python(*command).stdout
    else:
        assert installation.python(*command, check=False).returncode != 0
        assert installation.python("-m", "airflow", "version").returncode == 0
