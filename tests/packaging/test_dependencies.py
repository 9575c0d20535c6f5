"""The declared dependencies are the imported ones, and the pins cover them."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

# Needed without an import of our own.
BEHIND_ANOTHER = {
    "apache-airflow-providers-standard": "every Airflow installation runs its DAGs with it",
    "pytz": "duckdb reads and writes time zones through it",
}
# Imported, but the version is another distribution's business.
THROUGH_ANOTHER = {
    "duckdb": "apache-airflow-providers-duckdb",
    "apache-airflow-core": "apache-airflow",
    "apache-airflow-task-sdk": "apache-airflow",
    "fastapi": "apache-airflow",
    "fsspec": "apache-airflow",
    "joblib": "pyod",
    "markupsafe": "jinja2",
    "pendulum": "apache-airflow",
    "pillow": "matplotlib",
    "pydantic-ai": "apache-airflow-providers-common-ai",
    "pydantic-ai-slim": "apache-airflow-providers-common-ai",
    "pydantic-core": "pydantic",
    "scikit-learn": "pyod",
    "slack-sdk": "apache-airflow-providers-slack",
    "universal-pathlib": "apache-airflow",
}


# Modules that an extra brings, by the provider that needs them.
OF_EXTRAS = {"MySQLdb": "apache-airflow-providers-mysql", "google": "apache-airflow-providers-google"}


@pytest.fixture(scope="module")
def project(repository: Path) -> dict:
    return tomllib.loads((repository / "pyproject.toml").read_text())["project"]


def _imports(folder: Path) -> set[str]:
    names: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                names.add(node.module)
    return {name for name in names if name.partition(".")[0] not in {"anomstack_provider", *sys.stdlib_module_names}}


def _distributions(module: str, declared: set[str]) -> set[str]:
    """Return the distributions that may provide a module; an Airflow provider is told by its name."""
    if module.startswith("airflow.providers."):
        parts = module.split(".")[2:]
        named = {f"apache-airflow-providers-{'-'.join(parts[:n])}" for n in (1, 2)}
        return named & declared or named
    if module.partition(".")[0] == "airflow":
        return {"apache-airflow"}
    root = module.partition(".")[0]
    if root in OF_EXTRAS:
        return {OF_EXTRAS[root]}
    # What is not installed, as the extra llm in the environment of the lowest versions, is told by its name.
    found = {canonicalize_name(name) for name in packages_distributions().get(root, [root])}
    return {THROUGH_ANOTHER.get(name, name) for name in found}


def test_imported_and_declared_are_the_same(repository: Path, project: dict):
    declared = {canonicalize_name(Requirement(text).name) for text in project["dependencies"]}
    optional = {
        canonicalize_name(Requirement(text).name)
        for extra in ("bigquery", "databricks", "demo", "ics", "llm", "mysql", "parquet", "s3")
        for text in project["optional-dependencies"][extra]
    }
    used = {module: _distributions(module, declared) for module in _imports(repository / "anomstack_provider")}
    undeclared = {module: names for module, names in used.items() if not names & (declared | optional)}
    assert undeclared == {}
    unused = declared - {name for names in used.values() for name in names} - {"apache-airflow", *BEHIND_ANOTHER}
    assert unused == set()


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-lowest.txt"])
def test_constraints_are_plain_pins(repository: Path, name: str):
    lines = (repository / name).read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*==[A-Za-z0-9.+!]+", line)] == []


@pytest.mark.parametrize(
    ("name", "extras"),
    [
        ("constraints.txt", ("dev", "test", "demo", "ics", "llm", "parquet", "s3")),
        ("constraints-lowest.txt", ("test", "demo", "ics", "parquet", "s3")),
    ],
)
def test_constraints_pin_every_declared_dependency_inside_its_bounds(
    repository: Path, project: dict, name: str, extras: tuple[str, ...]
):
    pins = dict(line.split("==") for line in (repository / name).read_text().splitlines())
    declared = [
        *project["dependencies"],
        *(text for extra in extras for text in project["optional-dependencies"][extra]),
    ]
    requirements = [Requirement(text) for text in declared]
    outside = [
        str(need)
        for need in requirements
        if need.name != project["name"] and not need.specifier.contains(pins.get(canonicalize_name(need.name), "0"))
    ]
    assert outside == []


def test_lowest_constraints_are_the_lower_bounds(repository: Path, project: dict):
    """What is claimed is tested: the second environment runs on the oldest release that each line admits."""
    pins = dict(line.split("==") for line in (repository / "constraints-lowest.txt").read_text().splitlines())
    above = {}
    for text in project["dependencies"]:
        need = Requirement(text)
        (bound,) = [Version(spec.version) for spec in need.specifier if spec.operator == ">="]
        pinned = Version(pins[canonicalize_name(need.name)])
        if pinned.release[:2] != bound.release[:2]:
            above[need.name] = f"{pinned} instead of {bound}"
    assert above == {}
