"""A bounded run of the fuzzer on bundles, from the same seed each time; ``fuzz_bundle.py`` itself runs at will."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("fuzz_bundle.py")
RUNS = 20_000
MEMORY = 4 << 30


@pytest.mark.skipif(find_spec("atheris") is None, reason="needs atheris (extra dev), which is built for Linux")
def test_nothing_that_follows_the_readers_branches_breaks_it(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[2])}
    done = subprocess.run(
        # A child begins with the peak of memory that its parent had, so the fuzzer cannot limit it by that.
        [sys.executable, str(SCRIPT), f"-runs={RUNS}", "-seed=1", "-rss_limit_mb=0"],
        cwd=tmp_path,  # where it leaves what broke the reader
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert f"Done {RUNS} runs" in done.stderr
    assert not list(tmp_path.iterdir())
