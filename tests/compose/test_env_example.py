"""`.env.example` explains exactly the variables of `docker-compose.yaml`, with the defaults that hold."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import yaml
from cryptography.fernet import Fernet

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = (ROOT / "docker-compose.yaml").read_text(encoding="utf-8")
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")

# ${NAME}, ${NAME:-default} or ${NAME:?message}; `$$` is a dollar that Compose leaves to the shell.
USES = re.findall(r"(?<!\$)\$\{([A-Z0-9_]+)(?::([-?])([^}]*))?\}", COMPOSE)
LINE = re.compile(r"^(#?)([A-Z0-9_]+)=(.*)$", re.MULTILINE)
EXPLAINED = {name: (commented == "#", value) for commented, name, value in LINE.findall(EXAMPLE)}


def test_every_dollar_brace_is_understood_by_this_test() -> None:
    assert len(USES) == len(re.findall(r"(?<!\$)\$\{", COMPOSE))
    assert not re.findall(r"(?<!\$)\$[A-Za-z_]", COMPOSE), "write ${NAME}, so that this test sees it"


def test_the_same_variables_on_both_sides() -> None:
    assert {name for name, _, _ in USES} == set(EXPLAINED)


def test_a_variable_is_listed_once() -> None:
    names = [name for _, name, _ in LINE.findall(EXAMPLE)]
    assert len(names) == len(set(names))


def test_defaults_shown_are_the_defaults_and_needed_ones_are_empty() -> None:
    defaults = {name: {text for other, kind, text in USES if other == name and kind == "-"} for name, _, _ in USES}
    needed = {name for name, kind, _ in USES if kind == "?"}
    for name, (commented, value) in EXPLAINED.items():
        if name in needed:
            assert (commented, value) == (False, ""), f"{name}: no value may ship"
        else:
            assert commented, f"{name} has a default, so .env.example shows it behind a #"
            assert defaults[name] == {value}, name


def test_every_variable_has_a_comment_of_its_own() -> None:
    for paragraph in EXAMPLE.split("\n\n"):
        lines = paragraph.strip().splitlines()
        if any(LINE.match(line) for line in lines):
            assert lines[0].startswith("# "), paragraph
            assert sum(bool(LINE.match(line)) for line in lines) == 1, paragraph


def test_new_env_fills_every_secret_differently_each_time() -> None:
    def fresh() -> dict[str, str]:
        run = ["sh", str(ROOT / "docker" / "new_env.sh")]
        text = subprocess.run(run, check=True, capture_output=True, text=True).stdout
        return {name: value for commented, name, value in LINE.findall(text) if not commented}

    one, two = fresh(), fresh()
    assert set(one) == {name for name, kind, _ in USES if kind == "?"}
    assert all(len(value) >= 16 and one[name] != two[name] for name, value in one.items())
    assert all(re.fullmatch(r"[A-Za-z0-9_=-]+", value) for value in one.values())
    Fernet(one["AIRFLOW_FERNET_KEY"])


def test_every_image_is_a_variable_and_ports_are_bound_to_an_address() -> None:
    services = yaml.safe_load(COMPOSE)["services"]
    for name, service in services.items():
        assert service["image"].startswith("${"), name
        for port in service.get("ports", []):
            assert str(port).startswith("${BIND_ADDRESS:-127.0.0.1}:${"), (name, port)
    checked = {name for name, service in services.items() if "healthcheck" in service}
    assert checked == set(services) - {"init"}


def test_the_duckdb_file_is_mounted_where_tasks_run_and_nowhere_else() -> None:
    services = yaml.safe_load(COMPOSE)["services"]
    with_data = {
        name
        for name, service in services.items()
        if any(str(volume).startswith("data:") for volume in service.get("volumes", []))
    }
    assert with_data == {"init", "scheduler"}
