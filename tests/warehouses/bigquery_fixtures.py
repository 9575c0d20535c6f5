"""BigQuery, as bqemulator has it: the real hook and client against its server."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.database_fixtures import Database
from tests.warehouses.programs import free_port, running


class Client(Database):
    """Runs statements through the client, as the hook's own cursor does not work on the emulator."""

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        from anomstack_provider.store.dialects import source_dialect

        hook = self.hook()
        dialect = source_dialect(hook)
        rows: list[tuple[Any, ...]] = []
        with closing(dialect.open(hook, 1.0)) as connection:
            for statement in statements:
                _, found = dialect._job(connection, statement)
                rows = [tuple(row.values()) for row in found]
        return rows


@pytest.fixture(scope="session")
def bigquery_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = free_port()
    with running("bigquery_server.py", port, tmp_path_factory.mktemp("bigquery") / "log"):
        yield port


@pytest.fixture
def bigquery_database(
    bigquery_port: int, connected_database: Callable[..., Database], monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Database]:
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", f"http://127.0.0.1:{bigquery_port}")

    def make() -> Database:
        extra = {"project": "test-project", "is_anonymous": True, "dataset": f"d_{uuid.uuid4().hex[:12]}"}
        made = connected_database("bigquery", {"conn_type": "gcpbigquery", "extra": extra})
        with closing(made.hook().get_client(project_id="test-project")) as client:
            client.create_dataset(f"test-project.{extra['dataset']}")
        return Client(made.engine, made.hook, made.conn_id)

    return make
