"""A real S3 server, reached as a task reaches it: a URL with a connection id, the connection in the environment."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anomstack_provider.artifacts.model_store import (
    ModelKey,
    ModelRefused,
    ModelStore,
    ModelStoreUnavailable,
    open_model_store,
)
from anomstack_provider.artifacts.plots import load_plot, save_plot
from anomstack_provider.artifacts.probe import probe
from anomstack_provider.artifacts.tidying import tidy
from tests.object_store_fixtures import BUCKET, KEY, SECRET, client, connection, free_ports


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> ModelStore:
    """A store below a folder of the test's own."""
    monkeypatch.setenv("AIRFLOW_CONN_MODEL_STORE", connection(endpoint))
    return open_model_store(f"s3://model_store@{BUCKET}/{request.node.name}/models", "/nowhere")


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> str:
    return f"{request.node.name}/models"


def objects(endpoint: str, prefix: str) -> list[str]:
    listed = client(endpoint).list_objects_v2(Bucket=BUCKET, Prefix=prefix + "/")
    return sorted(found["Key"].removeprefix(prefix + "/") for found in listed.get("Contents", []))


def test_saved_loaded_and_pruned(
    s3: ModelStore, key: ModelKey, endpoint: str, folder: str, knn: Any, other_rows: np.ndarray[Any, Any]
) -> None:
    assert s3.load(key) is None
    assert s3.prune("flights", 1) == []
    manifest = s3.save(key, {"departures": knn}, {"x": [1]})
    assert objects(endpoint, folder) == [f"{key.folder}/manifest.json", f"{key.folder}/{manifest.object}"]
    bundle = s3.load(key)
    assert bundle is not None
    assert bundle.manifest == manifest
    loaded: Any = bundle.models["departures"]
    np.testing.assert_array_equal(loaded.decision_function(other_rows), knn.decision_function(other_rows))

    for day in (1, 2, 3):
        s3.save(replace(key, tick=datetime(2013, 2, day, tzinfo=UTC)), {}, {})
    client(endpoint).put_object(Bucket=BUCKET, Key=f"{folder}/flights/notes.txt", Body=b"mine")
    assert s3.prune("flights", 2) == [f"2013020{day}T000000Z-0123abcd-r1" for day in (1, 2)]
    assert {name.split("/")[1] for name in objects(endpoint, folder)} == {
        "20130203T000000Z-0123abcd-r1",
        "20130208T000000Z-0123abcd-r1",
        "notes.txt",
    }
    assert s3.load(replace(key, tick=datetime(2013, 2, 1, tzinfo=UTC))) is None
    assert s3.load(key) is not None


def test_what_nobody_reads_is_removed(s3: ModelStore, key: ModelKey, endpoint: str, folder: str) -> None:
    s3.save(key, {"m": 1}, {})
    s3.save(key, {"m": 2}, {})
    s3.save(replace(key, config_hash="other"), {}, {})
    s3.save(replace(key, shard=1, shards=2), {}, {})
    s3.save(replace(key, tick=datetime(2013, 2, 1, tzinfo=UTC)), {}, {})
    before = objects(endpoint, folder)
    now = datetime.now(UTC)
    day = timedelta(days=1)
    assert tidy(s3.files, "flights", 1, key.config_hash, 1, now - day) == []
    assert objects(endpoint, folder) == before
    assert len(tidy(s3.files, "flights", 1, key.config_hash, 1, now + day)) == 4
    assert len(objects(endpoint, folder)) == 2
    bundle = s3.load(key)
    assert bundle is not None
    assert bundle.models == {"m": 2}
    assert tidy(s3.files, "flights", 1, key.config_hash, 1, now + day) == []


def test_a_plot_and_a_probe(s3: ModelStore, endpoint: str, folder: str) -> None:
    probe(s3.files)
    assert objects(endpoint, folder) == []
    save_plot(s3.files, "flights", b"one")
    assert save_plot(s3.files, "flights", b"two").endswith("/plots/flights/latest.png")
    assert load_plot(s3.files, "flights") == b"two"
    assert objects(endpoint, folder) == ["plots/flights/latest.png"]


def test_what_others_write_is_seen(s3: ModelStore, key: ModelKey, endpoint: str, folder: str) -> None:
    later = replace(key, tick=datetime(2013, 2, 9, tzinfo=UTC))
    s3.save(later, {"m": 1}, {})
    s3.save(key, {"m": 1}, {})
    # The file system has now listed this folder and may remember it.
    assert s3.prune("flights", 5) == []
    assert s3.load(key) is not None
    others = client(endpoint)
    for name in objects(endpoint, folder):
        if key.folder in name and name.endswith(".json"):
            others.delete_object(Bucket=BUCKET, Key=f"{folder}/{name}")
    assert s3.load(key) is None
    for name in objects(endpoint, folder):
        if later.folder in name and name.endswith(".bin"):
            others.put_object(Bucket=BUCKET, Key=f"{folder}/{name}", Body=b"short")
    with pytest.raises(ModelRefused, match="5 bytes instead of"):
        s3.load(later)


def test_tampered_object(s3: ModelStore, key: ModelKey, endpoint: str, folder: str) -> None:
    manifest = s3.save(key, {"m": 1}, {})
    name = f"{folder}/{key.folder}/{manifest.object}"
    client(endpoint).put_object(Bucket=BUCKET, Key=name, Body=b"x" * manifest.size)
    with pytest.raises(ModelRefused, match="sha256") as refused:
        s3.load(key)
    assert refused.value.path.startswith("s3://")
    assert refused.value.path.endswith(name)
    client(endpoint).delete_object(Bucket=BUCKET, Key=name)
    with pytest.raises(ModelRefused, match="missing"):
        s3.load(key)


@pytest.mark.parametrize("batch", ["/ ' . ..", "..", "", "100% \U0001f6eb", "a" * 200, "\U0001f6eb" * 200, "*?[x]"])
def test_odd_batch_names(endpoint: str, monkeypatch: pytest.MonkeyPatch, key: ModelKey, batch: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MODEL_STORE", connection(endpoint))
    store = open_model_store(f"s3://model_store@{BUCKET}/odd names/models", "/nowhere")
    one = replace(key, metric_batch=batch)
    assert store.load(one) is None
    store.save(one, {"m": batch}, {})
    store.save(replace(one, tick=datetime(2013, 2, 1, tzinfo=UTC)), {}, {})
    bundle = store.load(one)
    assert bundle is not None
    assert bundle.models == {"m": batch}
    assert store.prune(batch, 1) == ["20130201T000000Z-0123abcd-r1"]
    assert store.load(one) is not None


@pytest.mark.parametrize(("login", "password"), [(KEY, "wrong"), ("unknown", SECRET)])
def test_wrong_credentials(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, key: ModelKey, login: str, password: str
) -> None:
    name = f"WRONG_{login}_{password}".replace("-", "_").upper()
    monkeypatch.setenv(f"AIRFLOW_CONN_{name}", connection(endpoint, login, password))
    store = open_model_store(f"s3://{name.lower()}@{BUCKET}/models", "/nowhere")
    for action in (lambda: store.load(key), lambda: store.save(key, {}, {}), lambda: store.prune("flights", 1)):
        with pytest.raises(ModelStoreUnavailable, match=r"does not let us .*Check the credentials") as refused:
            action()
        assert SECRET not in str(refused.value)
        assert password not in str(refused.value).replace(name.lower(), "")


def test_an_unknown_connection_never_means_the_credentials_of_the_machine(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, key: ModelKey
) -> None:
    # With these, a hook that finds no connection would get in.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(ModelStoreUnavailable, match=r"s3://mistyped@.*mistyped.*Check the connection id"):
        open_model_store(f"s3://mistyped@{BUCKET}/models", "/nowhere")


def test_an_unknown_bucket_is_not_made(endpoint: str, monkeypatch: pytest.MonkeyPatch, key: ModelKey) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MODEL_STORE", connection(endpoint))
    store = open_model_store("s3://model_store@no-such-bucket/models", "/nowhere")
    assert store.load(key) is None
    before = [bucket["Name"] for bucket in client(endpoint).list_buckets()["Buckets"]]
    assert before == [BUCKET]


def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch, key: ModelKey) -> None:
    (port,) = free_ports(1)
    monkeypatch.setenv("AIRFLOW_CONN_NOBODY_THERE", connection(f"http://127.0.0.1:{port}", tries=2))
    store = open_model_store(f"s3://nobody_there@{BUCKET}/models", "/nowhere")
    with pytest.raises(ModelStoreUnavailable, match="Check model_path and its connection"):
        store.load(key)


def test_the_example_of_models_in_s3_keeps_them_there(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """metrics/examples/s3_models from ingest to alert; but for the name of the bucket as it stands."""
    from anomstack_provider.runtime.window import RunWindow
    from anomstack_provider.steps.alert import alert
    from anomstack_provider.steps.ingest import ingest
    from anomstack_provider.steps.score import score
    from anomstack_provider.steps.train import train
    from anomstack_provider.wiring.batches import load_spec, open_stores
    from anomstack_provider.wiring.fetch import fetch_outside_airflow

    metrics = str(Path(__file__).parents[2] / "metrics")
    monkeypatch.setenv("AIRFLOW__ANOMSTACK__DUCKDB_PATH", str(tmp_path / "anomstack.duckdb"))
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", connection(endpoint))
    path = load_spec("s3_models", metrics).model_path.replace("my-bucket", BUCKET)
    monkeypatch.setenv("ANOMSTACK__S3_MODELS__MODEL_PATH", path)
    monkeypatch.setenv("ANOMSTACK__S3_MODELS__SCORE_MAX_N", "1")  # no model for each day before the window
    spec = load_spec("s3_models", metrics)
    stores = open_stores(spec)
    window = RunWindow(datetime(2026, 4, 30, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC))
    ingest(spec, window, stores.metrics, lambda part: fetch_outside_airflow(spec, part, metrics))
    train(spec, window, stores.metrics, stores.models)
    stored = objects(endpoint, "anomstack/models")
    assert [name.split("/")[0] for name in stored] == ["s3_models"] * len(stored)
    assert sum(name.endswith("manifest.json") for name in stored) == len(stored) // 2 >= 1
    score(spec, window, stores.metrics, stores.models)
    (found,) = alert(spec, window, stores.metrics, stores.models).alerts
    assert (found.metric_name, found.transition, found.direction) == ("parcels", "opened", "down")
    assert set(stored) <= set(objects(endpoint, "anomstack/models"))
