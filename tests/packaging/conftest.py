"""The wheel as a user gets it: built from this checkout, installed where only its dependencies are."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Installation:
    """A virtual environment with the wheel in it."""

    root: Path
    home: Path

    def python(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the environment's Python; its own Airflow home, and no source tree anywhere on the path."""
        done = subprocess.run(
            [str(self.root / "bin" / "python"), *arguments],
            cwd=self.home,
            env={**os.environ, "AIRFLOW_HOME": str(self.home)},
            check=False,
            capture_output=True,
            text=True,
        )
        if check and done.returncode:
            pytest.fail(f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}", pytrace=False)
        return done


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "--outdir",
            str(target),
            str(REPOSITORY),
        ],
        check=True,
        capture_output=True,
    )
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installation(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    root = tmp_path_factory.mktemp("installation")
    home = tmp_path_factory.mktemp("home")
    venv.create(root, with_pip=True)
    installed = Installation(root, home)
    # Airflow and the libraries are those of the environment that runs the tests, all but this checkout.
    site = Path(installed.python("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        target = site / path.name
        if not path.name.startswith("anomstack") and path.suffix != ".pth" and not target.exists():
            target.symlink_to(path)
    # With its dependencies, and no index to get any from: what is declared must be what is there.
    installed.python("-m", "pip", "install", "--quiet", "--no-index", str(wheel))
    return installed
