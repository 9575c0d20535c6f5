"""The folder of examples as a whole: it loads without a complaint, is described, and does nothing by itself."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from anomstack_provider.cli import main
from anomstack_provider.wiring.batches import load_folder
from tests.examples.conftest import METRICS, REPOSITORY

EXAMPLES = METRICS / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/*.yaml"))
README = (EXAMPLES / "README.md").read_text("utf-8")


def test_the_folder_is_valid_without_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--metrics-dir", str(METRICS)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["ok", name] for name in NAMES]
    assert len(NAMES) >= 20


@pytest.mark.parametrize("name", NAMES)
def test_each_has_a_line_and_a_picture(name: str) -> None:
    assert (EXAMPLES / name / f"{name}.yaml").is_file()
    assert f"[{name}]({name}/{name}.yaml)" in README
    assert f"](../../docs/images/examples/{name}.png)" in README
    picture = REPOSITORY / "docs" / "images" / "examples" / f"{name}.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 60_000


def test_every_link_of_the_readme_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)", README):
        assert (EXAMPLES / target).exists(), target


def test_what_needs_something_begins_paused() -> None:
    needing = set(re.findall(r"\[(\w+)\]\(\w+/\w+\.yaml\)", README.split("## A network")[1].split("## What they")[0]))
    folder = load_folder(str(METRICS))
    stopped = {name for name, batch in folder.batches.items() if batch.spec.ingest_default_schedule_status == "STOPPED"}
    assert needing == stopped
    assert len(needing) == 12
    for name in stopped:
        assert folder.batches[name].spec.description


def test_the_file_that_asks_services_is_shared() -> None:
    for name in NAMES:
        text = (EXAMPLES / name / f"{name}.yaml").read_text("utf-8")
        python = (EXAMPLES / name / f"{name}.py").is_file()
        assert ("http_source.py" in text) == (python and name != "python_ingest")


def test_the_demo_has_the_flights_alone(tmp_path: Path) -> None:
    """``scripts/demo.sh`` copies one folder; its includes still lead there."""
    lines = (REPOSITORY / "scripts" / "local_airflow.sh").read_text("utf-8")
    assert 'AIRFLOW__ANOMSTACK__METRICS_DIR="$repo/.demo/metrics"' in lines
    target = tmp_path / "metrics" / "examples"
    target.mkdir(parents=True)
    shutil.copytree(EXAMPLES / "flights", target / "flights")
    command = [sys.executable, "-m", "anomstack_provider.cli", "validate", "--metrics-dir", str(tmp_path / "metrics")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "ok      flights (examples/flights/flights.yaml)\n"
