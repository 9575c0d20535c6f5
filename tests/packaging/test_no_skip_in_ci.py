"""With ``CI=true`` a skipped test is a failed one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = {
    "test_inside.py": "import pytest\ndef test_a():\n    pytest.skip('no server')\n",
    "test_marked.py": "import pytest\n@pytest.mark.skipif(True, reason='odd day')\ndef test_b():\n    pass\n",
    "test_missing.py": "import pytest\npytest.importorskip('no_such_module')\n",
    "test_known.py": "import pytest\n@pytest.mark.xfail(reason='known')\ndef test_c():\n    assert False\n",
    "test_fine.py": "def test_d():\n    pass\n",
}


def _run(folder: Path, ci: str) -> str:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            str(folder),
            str(folder),
        ],
        cwd=folder,
        env={**os.environ, "CI": ci},
        check=False,
        capture_output=True,
        text=True,
    )
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("ci", "inside", "missing"),
    [
        ("true", "1 failed, 1 passed, 1 xfailed, 1 error", "1 error"),
        ("", "1 passed, 2 skipped, 1 xfailed", "1 skipped"),
    ],
)
def test_skips(repository: Path, tmp_path: Path, ci: str, inside: str, missing: str):
    for name, text in TESTS.items():
        folder = tmp_path / ("missing" if name == "test_missing.py" else "inside")
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text)
        (folder / "conftest.py").write_text((repository / "tests" / "conftest.py").read_text())
    assert inside in _run(tmp_path / "inside", ci)
    assert missing in _run(tmp_path / "missing", ci)
