"""A replacement that fails on its way, where the warehouse has transactions."""

from __future__ import annotations

from datetime import datetime

import pytest

from anomstack_provider.store.metric_store import MetricStore

SHARED = [(f"shared {number}", "metric", datetime(2024, 1, 1)) for number in range(5)]


@pytest.mark.parametrize("statement", ["DELETE", "INSERT INTO", "COMMIT"])
@pytest.mark.parametrize("database", ["snowflake"], indirect=True)
def test_a_replacement_that_fails_leaves_the_old_rows(database, frame, stored, tapped, statement):
    store = MetricStore(database.hook(), "metrics", "sales")
    store.replace(frame([(*key, 1.0) for key in SHARED]))
    before = stored(store)

    def cut(name, args):
        if name == "execute" and args[0].startswith(statement) and "staged " not in args[0].split("(")[0]:
            raise ConnectionError("the line is cut")

    broken = MetricStore(tapped(database.hook(), cut), "metrics", "sales")
    with pytest.raises(ConnectionError):
        broken.replace(frame([(*key, 2.0) for key in SHARED[:3]]), clear=frame([(*key, 0.0) for key in SHARED]))
    assert stored(store) == before
    assert store.replace(frame([(*key, 3.0) for key in SHARED])) == 5  # nothing is locked
