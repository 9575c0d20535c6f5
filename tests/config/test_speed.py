"""What reading a folder costs: it happens again and again, in the process that parses every DAG file."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BATCH = """\
# batch {number}
metric_batch: "batch_{number}"
table_key: "metrics_{number}"
ingest_cron_schedule: "{minute} 8 * * *"
train_cron_schedule: "{minute} 9 * * *"
alert_always: False
alert_methods: "email,slack"
preprocess_params:
  diff_n: 1
  smooth_n: 3
  lags_n: 5
ingest_sql: >
  select now() as metric_timestamp, 'm{number}' as metric_name, random() as metric_value
"""


@pytest.fixture
def thousand(folder: Any) -> Any:
    folder.write("defaults/defaults.yaml", "owner: data\nalert_methods: email\n")
    for number in range(1000):
        folder.write(f"{number:04}.yaml", BATCH.format(number=number, minute=number % 60))
    return folder


def quickest(load: Callable[[], Any]) -> tuple[float, Any]:
    """Return the CPU seconds of the best of three: the others were disturbed."""
    taken = []
    for _ in range(3):
        start = time.process_time()
        loaded = load()
        taken.append(time.process_time() - start)
    return min(taken), loaded


def test_a_thousand_batches_load_in_a_blink(thousand: Any):
    seconds, loaded = quickest(thousand.load)
    assert (len(loaded.batches), loaded.errors) == (1000, [])
    assert seconds < 1.5


def test_one_of_a_thousand_batches_loads_much_faster(thousand: Any):
    everything, _ = quickest(thousand.load)
    seconds, one = quickest(lambda: thousand.load(only="batch_777"))
    assert list(one.batches) == ["batch_777"]
    assert seconds < everything / 2


def test_reading_a_folder_loads_no_airflow_and_no_numbers(folder: Any):
    folder.batch("a.yaml", "a", schedule="'@daily'", timezone="Europe/Berlin")
    code = (
        "import sys\n"
        "import anomstack_provider.config.schema, anomstack_provider.config.templating\n"
        "from anomstack_provider.config.loader import load_batches\n"
        "assert list(load_batches(sys.argv[1], environ={}).batches) == ['a']\n"
        "heavy = {'airflow', 'pandas', 'numpy', 'pyod', 'sklearn', 'scipy', 'matplotlib', 'duckdb', "
        "'sqlalchemy'}\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder.root)], cwd=root, check=True, capture_output=True, text=True
    )
    assert done.stdout == "[]\n"
