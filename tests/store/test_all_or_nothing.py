"""A replace is whole or not at all: failures and SIGKILL before any call to the database, and at any moment."""

from __future__ import annotations

import os
import random
import signal
import time
from datetime import datetime, timedelta

import pytest

from anomstack_provider.store.metric_store import MetricStore

START = datetime(2024, 1, 1)
CALLS = 40  # more than one replace makes


@pytest.fixture
def old(frame):
    return frame([(f"m{number}", "score", START + timedelta(hours=number), 1.0) for number in range(50)])


@pytest.fixture
def new(old):
    """Other values, half of the keys cleared, some more."""
    later = old.assign(metric_timestamp=old["metric_timestamp"] + timedelta(days=9), metric_value=2.0)
    return later.iloc[:30]


@pytest.fixture
def reset(database, old, new):
    store = MetricStore(database.hook(), "metrics", "sales")

    def reset():
        store.replace(old, clear=new)
        return store

    return reset


def test_a_failure_before_any_call_leaves_the_old_rows(database, old, new, reset, stored, tapped):
    store = reset()
    before, failed = stored(store), 0
    for fatal in range(CALLS):
        count = 0

        def fail(name, args, fatal=fatal):
            nonlocal count
            count += name != "close"  # a dead process's connections are closed as well
            if name != "close" and count > fatal:
                raise ConnectionError("the line is cut")

        try:
            MetricStore(tapped(database.hook(), fail), "metrics", "sales").replace(new, clear=old)
        except ConnectionError:
            failed += 1
        if count <= fatal:
            break
        assert stored(store) == before
    assert failed == fatal >= 5
    assert [row[3] for row in stored(store)] == [(2.0).hex()] * 30


def test_a_kill_before_any_call_leaves_old_or_new(database, old, new, reset, stored, tapped, processes):
    store = reset()
    before = stored(store)
    outcomes = []
    for fatal in range(CALLS):
        reset()

        def work(fatal=fatal):
            count = 0

            def kill(name, args):
                nonlocal count
                count += 1
                if count > fatal:
                    os.kill(os.getpid(), signal.SIGKILL)

            MetricStore(tapped(database.hook(), kill), "metrics", "sales").replace(new, clear=old)

        process = processes.start(work)
        process.join(30)
        after = stored(store)
        outcomes.append("old" if after == before else "new")
        if after != before:
            assert [row[3] for row in after] == [(2.0).hex()] * 30
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
    assert outcomes.count("old") >= 5
    assert outcomes == sorted(outcomes, reverse=True)  # once it is kept, it is kept
    assert outcomes[-1] == "new"


def test_a_kill_at_any_moment_leaves_all_of_one_replace(database, frame, stored, processes):
    rng = random.Random(3)
    store = MetricStore(database.hook(), "metrics", "sales")
    rows = frame([(f"m{number}", "score", START + timedelta(minutes=number), 0.0) for number in range(2000)])
    store.replace(rows)

    def work():
        for number in range(1, 1000):
            store.replace(rows.assign(metric_value=float(number)))

    for _ in range(6):
        process = processes.start(work)
        time.sleep(rng.uniform(0.05, 0.4))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        found = stored(store)
        assert len(found) == 2000
        assert len({row[3] for row in found}) == 1
