"""The provider info: valid by Airflow's own schema, and true."""

from __future__ import annotations

import importlib
import json
import re
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

import anomstack_provider
from anomstack_provider.get_provider_info import get_provider_info

OPTIONS = get_provider_info()["config"]["anomstack"]["options"]


def test_valid_by_airflows_schema():
    schema = json.loads(files("airflow").joinpath("provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_is_plain_data():
    assert json.loads(json.dumps(get_provider_info())) == get_provider_info()


def test_one_version_everywhere(repository: Path):
    info = get_provider_info()
    newest = re.search(r"^## \[?(\d[^\s\]]*)", (repository / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert {info["versions"][0], version(info["package-name"]), newest[1]} == {anomstack_provider.__version__}


@pytest.mark.parametrize("module", [m for entry in get_provider_info()["operators"] for m in entry["python-modules"]])
def test_operators_exist(module: str):
    names = [
        name for name in dir(importlib.import_module(module)) if re.fullmatch(r"Anomstack\w+Operator|AnomalyGate", name)
    ]
    assert names


def test_all_operators_to_build_dags_of_are_named():
    homes = {getattr(anomstack_provider, name).__module__ for name in anomstack_provider.__all__ if name[0] == "A"}
    assert homes == {module for entry in get_provider_info()["operators"] for module in entry["python-modules"]}


def test_command_function_exists():
    for path in get_provider_info()["cli"]:
        module, _, name = path.rpartition(".")
        assert [command.name for command in getattr(importlib.import_module(module), name)()] == ["anomstack"]


@pytest.mark.parametrize("name", OPTIONS)
def test_options_are_documented(name: str):
    option = OPTIONS[name]
    assert option["description"].strip().endswith(".")
    assert option["example"] != option["default"]
    assert isinstance(option["default"], str)


@pytest.mark.parametrize("name", sorted(set(OPTIONS) - {"metrics_dir", "duckdb_path"}))
def test_defaults_are_those_of_the_config_key_of_the_same_name(name: str):
    """An option that is also a batch key must not say another default than the key's own."""
    from anomstack_provider.config.spec import BatchSpec

    default = BatchSpec.model_fields[name].get_default(call_default_factory=True)
    text = ",".join(default) if isinstance(default, list | tuple) else (default or "")
    assert OPTIONS[name]["default"] == text


def test_default_of_duckdb_path_holds_without_the_provider_list():
    """The command line on Airflow 3.1 reads the option without the providers' defaults."""
    from anomstack_provider.wiring import settings

    assert Path(settings.duckdb_path()).name == OPTIONS["duckdb_path"]["default"]


@pytest.mark.parametrize("name", [name for name in anomstack_provider.__all__ if name != "__version__"])
def test_public_names_load_on_first_use(name: str):
    assert getattr(anomstack_provider, name).__name__ == name
    assert name in dir(anomstack_provider)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        anomstack_provider.no_such_name  # noqa: B018
