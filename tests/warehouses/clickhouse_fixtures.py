"""ClickHouse in process: the real hook and driver on the engine itself, without a server."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.database_fixtures import Database


class Final(Database):
    """Reads as anyone has to who wants of the rows of a key only the last."""

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        return super().run("SET final = 1", *statements)


@pytest.fixture(scope="session")
def clickhouse_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep one engine open for the session: a process may have one, and opening it takes a second."""
    import clickhouse_connect

    path = tmp_path_factory.mktemp("clickhouse")
    with closing(clickhouse_connect.get_client(interface="chdb", path=str(path))):
        yield path


@pytest.fixture
def clickhouse_database(clickhouse_path: Path, connected_database: Callable[..., Database]) -> Callable[[], Database]:
    import clickhouse_connect

    def make() -> Database:
        name = f"db_{uuid.uuid4().hex[:12]}"
        with closing(clickhouse_connect.get_client(interface="chdb", path=str(clickhouse_path))) as client:
            client.command(f"CREATE DATABASE {name}")
        extra = {"client_kwargs": {"interface": "chdb", "path": str(clickhouse_path)}}
        made = connected_database("clickhouse", {"conn_type": "clickhouse", "schema": name, "extra": extra})
        return Final(made.engine, made.hook, made.conn_id)

    return make
