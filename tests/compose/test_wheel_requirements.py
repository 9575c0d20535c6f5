"""`docker/wheel_requirements.py` lists what pip would install for the wheel and the extras asked for."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parents[2]

METADATA = """\
Metadata-Version: 2.4
Name: some
Version: 1.0
Provides-Extra: demo
Provides-Extra: s3
Requires-Dist: pandas>=2
Requires-Dist: old-python-only; python_version < '3.0'
Requires-Dist: flights>=0.1; extra == 'demo'
Requires-Dist: store[fast]>=3; extra == 's3'

Requires-Dist: this is the description, not a header
"""


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "some-1.0-py3-none-any.whl"
    with ZipFile(path, "w") as archive:
        archive.writestr("some/__init__.py", "")
        archive.writestr("some-1.0.dist-info/METADATA", METADATA)
    return path


@pytest.fixture
def requirements() -> Callable[[Path, list[str]], list[str]]:
    function: Callable[[Path, list[str]], list[str]] = runpy.run_path(str(ROOT / "docker" / "wheel_requirements.py"))[
        "requirements"
    ]
    return function


def test_extras_add_their_requirements(wheel: Path, requirements: Callable[[Path, list[str]], list[str]]) -> None:
    assert requirements(wheel, []) == ["pandas>=2"]
    assert requirements(wheel, ["demo"]) == ["flights>=0.1", "pandas>=2"]
    assert requirements(wheel, ["demo", "s3"]) == ["flights>=0.1", "pandas>=2", "store[fast]>=3"]


def test_a_misspelt_extra_is_refused(wheel: Path, requirements: Callable[[Path, list[str]], list[str]]) -> None:
    with pytest.raises(ValueError, match="has no extra dmo; it has demo, s3"):
        requirements(wheel, ["dmo"])
