"""Google's object store, as an emulator has it: behind a proxy that lets in who has a token, as the emulator does not.

Tokens are given by a server of the test's own to whoever signs for them with the key of the service account.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest

from anomstack_provider.artifacts.model_store import ModelKey, ModelStoreUnavailable, open_model_store
from tests.faulty_proxy import Fault, faulty_proxy
from tests.object_store_fixtures import StoredBatch, answers, free_ports, works

# gcsfs asks what kind of bucket it has, over gRPC, unless this is set before it is imported.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"

pytestmark = pytest.mark.objectstore

BUCKET, TOKEN = "model-bucket", "a-token-for-who-has-the-key"
ACCOUNT = "models@project.iam.gserviceaccount.com"


@cache
def private_key(name: str) -> Any:
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(name: str) -> str:
    from cryptography.hazmat.primitives import serialization as s

    return private_key(name).private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()).decode()


class TokenServer(BaseHTTPRequestHandler):
    """Gives the token for an assertion that is signed with the key "right"."""

    def do_POST(self) -> None:
        import jwt

        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        try:
            options = {"verify_aud": False}
            jwt.decode(form["assertion"][0], private_key("right").public_key(), ["RS256"], options=options)
            status, answer = 200, {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}
        except jwt.InvalidTokenError:
            status, answer = 400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class Google:
    store: str
    tokens: str

    def connection(self, key: str) -> str:
        """Return an Airflow connection whose service account has that key."""
        account = {"type": "service_account", "project_id": "project", "private_key_id": "1", "client_id": "1"}
        account |= {"private_key": pem(key), "client_email": ACCOUNT, "token_uri": self.tokens}
        extra = {"project": "project", "keyfile_dict": json.dumps(account), "gcs.endpoint": self.store}
        return json.dumps({"conn_type": "google_cloud_platform", "extra": extra})


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Google]:
    folder = tmp_path_factory.mktemp("gcs")
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "gcp_storage_emulator", "start", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--no-store-on-disk", "--quiet", "--default-bucket", BUCKET]
    tokens = ThreadingHTTPServer(("127.0.0.1", 0), TokenServer)
    threading.Thread(target=tokens.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("wb") as log, faulty_proxy(url) as door:
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 60
            while not answers(url):
                assert server.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
            expected = f"Bearer {TOKEN}"
            door.fault = lambda _, __, headers: None if headers["Authorization"] == expected else Fault(status=401)
            yield Google(door.url, f"http://127.0.0.1:{tokens.server_port}/token")
        finally:
            server.kill()
            server.wait()
            tokens.shutdown()
            tokens.server_close()


@pytest.fixture
def connected(google: Google, monkeypatch: pytest.MonkeyPatch) -> Google:
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_STORE", google.connection("right"))
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_STRANGER", google.connection("wrong"))
    return google


@pytest.mark.usefixtures("connected")
@pytest.mark.parametrize("scheme", ["gs", "gcs"])
def test_saved_loaded_and_pruned(key: ModelKey, scheme: str) -> None:
    works(open_model_store(f"{scheme}://google_store@{BUCKET}/{scheme}/models", "/nowhere"), key)


@pytest.mark.usefixtures("connected")
def test_trained_and_scored(batch: Callable[[str], StoredBatch], as_in_a_folder: list[tuple[Any, ...]]) -> None:
    made = batch(f"gs://google_store@{BUCKET}/whole/models")
    for day in (2, 3):
        made.train(day)
        assert made.score(day).facts == {}
    assert made.scores() == as_in_a_folder
    assert made.ticks() == [1, 2, 3]


@pytest.mark.usefixtures("connected")
def test_another_key_is_refused(
    batch: Callable[[str], StoredBatch], as_in_a_folder: list[tuple[Any, ...]], caplog: pytest.LogCaptureFixture
) -> None:
    """In one run, because Google's library tries for half a minute before it says so."""
    made = batch(f"gs://google_stranger@{BUCKET}/models")
    assert made.score(3).facts == {"model_store": "unavailable"}
    assert set(made.scores()) <= set(as_in_a_folder)
    (said,) = [record.getMessage() for record in caplog.records if record.name == "anomstack_provider.steps.score"][:1]
    assert said.startswith("The model store does not let us look at gs://google_stranger@model-bucket/models")
    assert "Check the credentials of its connection" in said
    assert pem("wrong").splitlines()[1] not in said


@pytest.mark.usefixtures("connected")
def test_a_bucket_that_does_not_exist(key: ModelKey) -> None:
    store = open_model_store("gs://google_store@nowhere/models", "/nowhere")
    assert store.load(key) is None
    with pytest.raises(ModelStoreUnavailable, match="Check that the bucket or share of model_path exists"):
        store.save(key, {}, {})
