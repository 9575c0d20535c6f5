"""A bounded run of each fuzzer, from the same seed every time; the scripts themselves run as long as one likes."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MEMORY = 4 << 30


@pytest.mark.skipif(find_spec("atheris") is None, reason="needs atheris (extra dev), which is built for Linux")
@pytest.mark.parametrize(("script", "runs"), [("fuzz_loader.py", 3000), ("fuzz_bundle.py", 20_000)])
def test_nothing_that_follows_the_branches_of_a_reader_breaks_it(tmp_path: Path, script: str, runs: int) -> None:
    done = subprocess.run(
        # A child begins with the peak of memory that its parent had, so the fuzzer cannot limit it by that.
        [sys.executable, str(HERE / script), f"-runs={runs}", "-seed=1", "-rss_limit_mb=0"],
        cwd=tmp_path,  # where it leaves what broke the reader
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert f"Done {runs} runs" in done.stderr
    assert not list(tmp_path.iterdir())
