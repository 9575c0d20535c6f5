"""Snowflake, as fakesnow has it: the real hook and driver against its HTTP server."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.database_fixtures import Database
from tests.warehouses.programs import free_port, running


@pytest.fixture(scope="session")
def snowflake_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = free_port()
    with running("snowflake_server.py", port, tmp_path_factory.mktemp("snowflake") / "log"):
        yield port


@pytest.fixture
def snowflake_database(
    snowflake_port: int, connected_database: Callable[..., Database], monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Database]:
    import snowflake.connector

    # The hook always asks for TLS.
    plain = functools.partial(snowflake.connector.connect, protocol="http")
    monkeypatch.setattr(snowflake.connector, "connect", plain)

    def make() -> Database:
        extra: dict[str, Any] = {
            "account": "fakesnow",
            "database": f"db_{uuid.uuid4().hex[:12]}",
            "host": "127.0.0.1",
            "port": snowflake_port,
            # What it does not know of; it is in UTC anyway.
            "session_parameters": {"nop_regexes": ["ALTER SESSION SET TIMEZONE"]},
        }
        connection = {"conn_type": "snowflake", "login": "ada", "password": "lovelace", "schema": "public"}
        return connected_database("snowflake", connection | {"extra": extra})

    return make
