"""
The promises of the store on warehouses: on an emulator or in process, each through its real hook and driver.

They need an environment of their own, ``make test-warehouses``; elsewhere these tests are deselected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.database_fixtures import Database
from tests.store.conftest import Processes, frame, processes, stored, tapped  # noqa: F401
from tests.warehouses.bigquery_fixtures import bigquery_database, bigquery_port  # noqa: F401
from tests.warehouses.clickhouse_fixtures import clickhouse_database, clickhouse_path  # noqa: F401
from tests.warehouses.snowflake_fixtures import snowflake_database, snowflake_port  # noqa: F401

WAREHOUSES = ["bigquery", "clickhouse", "snowflake"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("warehouse")


@pytest.fixture(params=WAREHOUSES)
def database(request: pytest.FixtureRequest, make_database: Callable[[str], Database]) -> Database:
    return make_database(request.param)


class Threads:
    """Stands in for processes where the engine admits one process only."""

    def all(self, works: Sequence[Callable[[], None]]) -> None:
        with ThreadPoolExecutor(len(works)) as pool:
            for done in [pool.submit(work) for work in works]:
                done.result(60)


@pytest.fixture
def workers(database: Database, processes: Processes) -> Processes | Threads:  # noqa: F811
    return Threads() if database.engine == "clickhouse" else processes
