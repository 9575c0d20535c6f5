"""The warehouse goes away, at every statement, at the commit, and after it: nothing is lost, doubled or half done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import psycopg2
import pytest

from anomstack_provider.store.ledger import Delivery, DeliveryLedger
from anomstack_provider.store.metric_store import MetricStore
from tests.store.cutting_proxy import Cut, CuttingProxy

START = datetime(2024, 1, 1)
NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)
# What either driver says of a line that is gone.
LOST = (psycopg.OperationalError, psycopg2.OperationalError, psycopg2.InterfaceError)
LEASE = timedelta(minutes=30)


@pytest.fixture
def proxy(postgres_socket: str) -> Iterator[CuttingProxy]:
    path = next(Path(postgres_socket.replace("%2F", "/")).glob(".s.PGSQL.*[0-9]"))
    proxy = CuttingProxy(str(path))
    yield proxy
    proxy.close()


@pytest.fixture
def schema(make_database: Callable[[str], Any]) -> str:
    """A schema of this test's own, whose database can be asked past the proxy."""
    return str(make_database("postgres").run("SELECT current_schema()")[0][0])


@pytest.fixture
def hook(proxy: CuttingProxy, schema: str, make_connection: Callable[[dict[str, Any]], Callable[[], Any]]) -> Any:
    """What gives a new hook through the proxy."""
    return make_connection(
        {
            "conn_type": "postgres",
            "login": "postgres",
            "schema": "postgres",
            "host": "127.0.0.1",
            "port": proxy.port,
            "extra": {"options": f"-c search_path={schema}", "sslmode": "disable", "gssencmode": "disable"},
        }
    )


@pytest.fixture
def old(frame: Any) -> Any:
    return frame([(f"m{number}", "score", START + timedelta(hours=number), 1.0) for number in range(20)])


@pytest.fixture
def new(old: Any) -> Any:
    return old.assign(metric_timestamp=old["metric_timestamp"] + timedelta(days=9), metric_value=2.0).iloc[:12]


def is_commit(number: int, text: str) -> bool:
    return text.strip().upper().startswith("COMMIT")


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_line_cut_at_any_statement_leaves_all_or_nothing(
    proxy: CuttingProxy, hook: Any, old: Any, new: Any, stored: Any, cut: Cut
) -> None:
    outcomes = []
    for fatal in range(1, 30):
        MetricStore(hook(), "metrics", "sales").replace(old, clear=new)
        before = stored(MetricStore(hook(), "metrics", "sales"))
        proxy.cut(lambda number, text, fatal=fatal: number == fatal, cut)
        store = MetricStore(hook(), "metrics", "sales")
        with suppress(*LOST):
            store.replace(new, clear=old)
        cuts, statements = proxy.mend()
        after = stored(MetricStore(hook(), "metrics", "sales"))
        outcomes.append("old" if after == before else "new")
        # The retry of the task: the same rows once more, whatever became of the first try.
        store.replace(new, clear=old)
        assert [row[3] for row in stored(store)] == [(2.0).hex()] * len(new)
        if not cuts:
            break
        kept = cut == "after" and is_commit(0, statements[-1])
        assert outcomes[-1] == ("new" if kept else "old"), statements
    assert outcomes.count("old") >= 5
    assert outcomes[-1] == "new"
    assert outcomes.count("new") == (2 if cut == "after" else 1)


def test_a_backend_that_is_terminated_takes_its_transaction_back(
    make_database: Any, old: Any, new: Any, stored: Any, tapped: Any
) -> None:
    database = make_database("postgres")
    store = MetricStore(database.hook(), "metrics", "sales")
    store.replace(old)
    before = stored(store)

    def terminate(name: str, args: tuple[Any, ...]) -> None:
        if name == "commit":
            database.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND state = 'idle in transaction'"
            )

    with pytest.raises(LOST):
        MetricStore(tapped(database.hook(), terminate), "metrics", "sales").replace(new, clear=old)
    assert stored(store) == before
    assert store.replace(new, clear=old) == len(new)
    assert [row[3] for row in stored(store)] == [(2.0).hex()] * len(new)


def test_a_server_that_is_not_there_is_an_error_that_names_no_secret(
    make_connection: Any, proxy: CuttingProxy, frame: Any
) -> None:
    proxy.close()
    hook = make_connection(
        {"conn_type": "postgres", "login": "joe", "password": "s3cr3t", "host": "127.0.0.1", "port": proxy.port}
    )
    with pytest.raises(LOST, match="refused") as caught:
        MetricStore(hook(), "metrics", "sales").replace(frame([("m", "metric", START, 1.0)]))
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("cut", ["before", "after"])
@pytest.mark.parametrize("call", ["record", "claim", "begin", "sent", "settle"])
def test_a_line_cut_at_the_commit_of_a_ledger_s_call_is_mended_by_the_retry(
    proxy: CuttingProxy, hook: Any, call: str, cut: Cut
) -> None:
    """The task fails and is tried again under the same name; every call may be made twice."""
    ledger = DeliveryLedger(hook(), "metrics", "sales")
    delivery = Delivery("e1", "opened", "email", "sales", "{}")
    begun: list[Delivery] = []

    def run() -> None:
        ledger.record([delivery], NOW)
        claimed = ledger.claim("dag/run-1/alert", NOW, LEASE)
        begun[:] = ledger.begin(claimed, NOW)
        if call == "settle":
            ledger.settle(begun, "failed", "the server was down")
        else:
            ledger.sent(begun, NOW)

    position = ["record", "claim", "begin", call if call in ("sent", "settle") else "sent"].index(call) + 1
    assert ledger.retry_abandoned() == 0  # makes the table
    seen = 0

    def wanted(number: int, text: str) -> bool:
        nonlocal seen
        seen += is_commit(number, text)
        return is_commit(number, text) and seen == position

    proxy.cut(wanted, cut)
    with pytest.raises(LOST):
        run()
    assert proxy.mend()[0] == 1
    run()
    rows = ledger.of_events(["e1"])
    assert [row.status for row in rows] == ["failed" if call == "settle" else "sent"]
    kept = call == "sent" and cut == "after"
    assert len(begun) == (0 if kept else 1), "what is known to be sent is not claimed again"
