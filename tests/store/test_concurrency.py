"""Many processes on one database: nothing is lost, nothing doubled, no error; and the wait for a lock ends."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from anomstack_provider.store.dialects import source_dialect
from anomstack_provider.store.errors import StoreBusy
from anomstack_provider.store.metric_store import MetricStore

LATE = datetime(2100, 1, 1, tzinfo=UTC)
START = datetime(2024, 1, 1)


def test_eight_writers_and_readers_lose_nothing(database, frame, stored, processes):
    """Each writer adds rows of its own and replaces rows that all share, on a database that is not there yet."""
    rounds, shared = 12, [(f"shared {number}", "metric", START) for number in range(20)]

    def writer(number):
        def work():
            store = MetricStore(database.hook(), "metrics", "sales")
            store.ensure_table()
            for turn in range(rounds):
                own = (f"writer {number}", "metric", START + timedelta(hours=turn), float(number))
                store.replace(frame([own, *((*key, float(number)) for key in shared)]))

        return work

    def reader():
        for _ in range(rounds * 2):
            store = MetricStore(database.hook(), "metrics", "sales")
            found = store.read(["metric"], since=None, until=LATE)
            values = found.loc[found["metric_name"].str.startswith("shared"), "metric_value"]
            assert len(values) in (0, len(shared))
            assert values.nunique() <= 1, "half of a replace was seen"
            assert not found.duplicated(["metric_name", "metric_timestamp"]).any()

    processes.all([*(writer(number) for number in range(8)), reader, reader])

    found = stored(MetricStore(database.hook(), "metrics", "sales"))
    assert len(found) == 8 * rounds + len(shared)
    assert database.run("SELECT count(*) FROM metrics") == [(8 * rounds + len(shared),)]


def test_writers_of_the_same_keys_on_a_table_without_a_constraint(database, frame, processes):
    database.run(
        "CREATE TABLE metrics (metric_timestamp TIMESTAMP, metric_batch TEXT, metric_name TEXT, metric_type TEXT, "
        "metric_value DOUBLE PRECISION, metadata TEXT)"
    )
    rows = [(f"m{number}", "metric", START) for number in range(50)]

    def writer(number):
        def work():
            store = MetricStore(database.hook(), "metrics", "sales")
            for _ in range(8):
                store.replace(frame([(*key, float(number)) for key in rows]))

        return work

    processes.all([writer(number) for number in range(4)])
    assert database.run("SELECT count(*), count(DISTINCT metric_value) FROM metrics") == [(50, 1)]


def test_threads_of_one_process_on_the_duckdb_file(duckdb_file, frame, stored):
    """They share the open database, so there is no lock to wait for: their transactions conflict."""
    errors = []

    def work(number):
        try:
            store = MetricStore(duckdb_file.hook(), "metrics", "sales")
            store.ensure_table()
            for turn in range(10):
                store.replace(
                    frame(
                        [(f"own {number}", "metric", START + timedelta(hours=turn), 1.0), ("s", "metric", START, 1.0)]
                    )
                )
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert duckdb_file.run("SELECT count(*) FROM metrics") == [(41,)]


def test_processes_wait_for_each_other_with_the_holder_named(duckdb_file, frame, processes, tmp_path):
    """Among themselves they take turns by a lock beside the file, from before it is opened until it is closed."""
    hook = duckdb_file.hook()
    MetricStore(hook, "metrics", "sales").ensure_table()

    def work():
        with source_dialect(hook).connected(hook):
            (tmp_path / "inside").touch()
            time.sleep(60)

    holder = processes.start(work)
    while not (tmp_path / "inside").exists():
        assert holder.is_alive()
        time.sleep(0.01)
    with pytest.raises(StoreBusy, match=rf"anomstack.duckdb: still busy after 0\.[12]\d* s.*PID {holder.pid}"):
        MetricStore(hook, "metrics", "sales", lock_wait=0.2).read(["metric"], since=None, until=LATE)
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    assert MetricStore(hook, "metrics", "sales", lock_wait=5).replace(frame([("m", "metric", START, 1.0)])) == 1


def test_a_file_that_stays_locked_ends_in_an_error_that_names_it_and_its_holder(duckdb_file, frame, hold):
    hook = duckdb_file.hook()
    MetricStore(hook, "metrics", "sales").ensure_table()
    holder = hold(60)
    store = MetricStore(hook, "metrics", "sales", lock_wait=0.6)

    for work in (
        lambda: store.replace(frame([("m", "metric", START, 1.0)])),
        lambda: store.read(["metric"], since=None, until=LATE),
    ):
        began = time.monotonic()
        with pytest.raises(StoreBusy) as caught:
            work()
        assert 0.5 < time.monotonic() - began < 5
        message = str(caught.value)
        assert str(hook.path) in message
        assert f"PID {holder.pid}" in message
        assert "0.6 s" in message
        assert "close it" in message


def test_a_lock_that_is_given_up_in_time_is_waited_for(duckdb_file, frame, hold, stored):
    store = MetricStore(duckdb_file.hook(), "metrics", "sales")
    store.ensure_table()
    hold(1.0)
    assert store.replace(frame([("m", "metric", START, 1.0)])) == 1
    assert len(stored(store)) == 1


def test_a_killed_holder_leaves_no_lock(duckdb_file, frame, hold, stored):
    store = MetricStore(duckdb_file.hook(), "metrics", "sales", lock_wait=5)
    store.ensure_table()
    holder = hold(60)
    os.kill(holder.pid, signal.SIGKILL)
    assert store.replace(frame([("m", "metric", START, 1.0)])) == 1


def test_waiting_does_not_fill_the_log(duckdb_file, frame, hold, make_connection, caplog, capfd):
    """The official hook logs each opening; hundreds of tries are one wait."""
    hook = make_connection({"conn_type": "duckdb", "host": str(duckdb_file.hook().path)})()
    duckdb_file.hook().path.parent.mkdir(parents=True, exist_ok=True)
    hold(1.0)
    with caplog.at_level(logging.DEBUG):
        MetricStore(hook, "metrics", "sales").replace(frame([("secret name", "metric", START, 4242.25)]))
    said = caplog.text + "".join(capfd.readouterr())
    assert said.count("Opening DuckDB") <= 6
    assert "secret name" not in said
    assert "4242" not in said
