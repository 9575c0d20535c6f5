"""The delivery ledger, on every engine."""

from __future__ import annotations

import itertools
import os
import signal
from datetime import UTC, datetime, timedelta

import pytest

from anomstack_provider.store.errors import StoreError
from anomstack_provider.store.ledger import Delivery, DeliveryLedger

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)
LEASE = timedelta(minutes=10)


def delivery(event, transition="opened", channel="email", batch="sales", payload="{}", status="pending"):
    return Delivery(event, transition, channel, batch, payload, status)


def keys(deliveries):
    return [(each.event_id, each.transition, each.channel) for each in deliveries]


@pytest.fixture
def ledger(database):
    return DeliveryLedger(database.hook(), "metrics", "sales")


def test_a_delivery_is_recorded_once_and_never_changed(database, ledger):
    first = delivery("e1", payload='{"value": 1}')
    assert ledger.record([first, delivery("e1", channel="slack")]) == 2
    assert ledger.record([delivery("e1", payload="other", status="suppressed"), delivery("e1", "closed")]) == 1
    assert ledger.record([first, first]) == 0
    assert ledger.record([]) == 0

    claimed = ledger.claim("task", NOW, LEASE)
    assert keys(claimed) == [("e1", "opened", "email"), ("e1", "opened", "slack"), ("e1", "closed", "email")]
    assert claimed[0] == Delivery("e1", "opened", "email", "sales", '{"value": 1}', "pending", 1)
    assert database.run("SELECT count(*) FROM metrics_deliveries") == [(3,)]


def test_claims_come_in_the_order_of_recording_and_only_of_the_own_batch(database, ledger):
    other = DeliveryLedger(database.hook(), "metrics", "other")
    other.record([delivery("x", batch="other")])
    ledger.record([delivery("z"), delivery("a", "opened"), delivery("a", "closed")])
    ledger.record([delivery("a", "escalated")])
    assert keys(ledger.claim("task", NOW, LEASE)) == [
        ("z", "opened", "email"),
        ("a", "opened", "email"),
        ("a", "closed", "email"),
        ("a", "escalated", "email"),
    ]
    assert keys(other.claim("task", NOW, LEASE)) == [("x", "opened", "email")]
    with pytest.raises(StoreError, match="belongs to batch 'other'"):
        ledger.record([delivery("y", batch="other")])


def test_what_was_suppressed_or_sent_is_never_claimed(ledger):
    ledger.record([delivery("quiet", status="suppressed"), delivery("loud")])
    (claimed,) = ledger.claim("task", NOW, LEASE)
    assert claimed.event_id == "loud"
    ledger.sent(claimed, NOW)
    assert ledger.claim("task", NOW + timedelta(days=9), LEASE) == []
    ledger.failed(claimed, "too late")
    assert ledger.claim("task", NOW + timedelta(days=9), LEASE) == []


def test_a_claim_lasts_for_its_lease_and_then_is_taken_over(ledger):
    ledger.record([delivery("e")])
    assert len(ledger.claim("first", NOW, LEASE)) == 1
    assert ledger.claim("second", NOW, LEASE) == []
    assert ledger.claim("second", NOW + LEASE, LEASE) == []
    (taken,) = ledger.claim("second", NOW + LEASE + timedelta(microseconds=1), LEASE)
    assert taken.attempts == 2


def test_a_claimant_gets_its_own_again_at_once(ledger):
    ledger.record([delivery("e")])
    (first,) = ledger.claim("dag.task.run", NOW, LEASE)
    (again,) = ledger.claim("dag.task.run", NOW, LEASE)
    assert (first.attempts, again.attempts) == (1, 2)


def test_a_failed_delivery_is_free_for_anyone_with_its_error_kept(database, ledger):
    ledger.record([delivery("e")])
    (first,) = ledger.claim("first", NOW, LEASE)
    ledger.failed(first, "550 mailbox 'x' unknown " + "y" * 5000)
    (error,) = database.run("SELECT error FROM metrics_deliveries")[0]
    assert error.startswith("550 mailbox 'x' unknown")
    assert len(error) == 2000
    (second,) = ledger.claim("second", NOW, LEASE)
    assert (second.status, second.attempts) == ("failed", 2)
    ledger.sent(second, NOW)
    assert database.run("SELECT status, error FROM metrics_deliveries") == [("sent", None)]


def test_whoever_lost_its_claim_cannot_free_the_one_that_took_over(ledger):
    ledger.record([delivery("e")])
    (slow,) = ledger.claim("slow", NOW, LEASE)
    later = NOW + 2 * LEASE
    (taken,) = ledger.claim("quick", later, LEASE)
    ledger.failed(slow, "I was asleep")
    assert ledger.claim("third", later, LEASE) == []
    ledger.sent(slow, later)  # but what a provider acknowledged is sent, whoever says so
    ledger.failed(taken, "refused as a duplicate")
    assert ledger.claim("third", later + 2 * LEASE, LEASE) == []


def test_processes_that_claim_at_once_share_without_overlap(database, ledger, processes, tmp_path):
    events = [f"event {number:03}" for number in range(60)]

    def worker(number):
        def work():
            mine = DeliveryLedger(database.hook(), "metrics", "sales")
            got = []
            for start in range(0, len(events), 10):
                mine.record([delivery(event) for event in events[start : start + 10]])
                got += [
                    each.event_id for each in mine.claim(f"task {number}", NOW, timedelta(days=1)) if each.attempts == 1
                ]
            (tmp_path / f"claimed-{number}").write_text("\n".join(got))

        return work

    processes.all([worker(number) for number in range(6)])
    got = [path.read_text().splitlines() for path in tmp_path.glob("claimed-*")]
    assert len(got) == 6
    assert sorted(itertools.chain(*got)) == events


def test_a_process_killed_with_its_claims_loses_none(database, ledger, processes):
    ledger.record([delivery("e"), delivery("f")])

    def work():
        DeliveryLedger(database.hook(), "metrics", "sales").claim("killed", NOW, LEASE)
        os.kill(os.getpid(), signal.SIGKILL)

    process = processes.start(work)
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    assert ledger.claim("other", NOW, LEASE) == []
    assert len(ledger.claim("other", NOW + 2 * LEASE, LEASE)) == 2


def test_hostile_names_and_times_without_a_zone(database, ledger):
    name = 'it\'s "x"; DROP TABLE metrics_deliveries; -- 50% %s \U0001f4c8'
    hostile = DeliveryLedger(database.hook(), "metrics", name)
    hostile.record([Delivery(name, "opened", name, name, name)])
    (claimed,) = hostile.claim(name, NOW, LEASE)
    assert claimed == Delivery(name, "opened", name, name, name, "pending", 1)
    hostile.failed(claimed, name)
    assert len(hostile.claim(name, NOW, LEASE)) == 1
    with pytest.raises(ValueError, match="no time zone"):
        hostile.claim(name, NOW.replace(tzinfo=None), LEASE)


@pytest.mark.parametrize("engine", ["duckdb", "postgres"])
def test_it_stands_beside_the_metrics_in_their_schema(engine, make_database):
    database = make_database(engine)
    DeliveryLedger(database.hook(), "led.metrics", "sales").record([delivery("e")])
    assert database.run("SELECT count(*) FROM led.metrics_deliveries") == [(1,)]
    if engine == "postgres":
        database.run("DROP SCHEMA led CASCADE")
