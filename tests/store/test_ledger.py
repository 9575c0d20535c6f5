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
    assert ledger.record([first, delivery("e1", channel="slack")], NOW) == 2
    assert ledger.record([delivery("e1", payload="other", status="suppressed"), delivery("e1", "closed")], NOW) == 1
    assert ledger.record([first, first], NOW) == 0
    assert ledger.record([], NOW) == 0

    claimed = ledger.claim("task", NOW, LEASE)
    assert keys(claimed) == [("e1", "opened", "email"), ("e1", "opened", "slack"), ("e1", "closed", "email")]
    assert claimed[0] == Delivery(
        "e1", "opened", "email", "sales", '{"value": 1}', "pending", recorded_at=NOW, seq=1, claims=1
    )
    assert database.run("SELECT count(*) FROM metrics_deliveries") == [(3,)]


def test_claims_come_in_the_order_of_recording_and_only_of_the_own_batch(database, ledger):
    other = DeliveryLedger(database.hook(), "metrics", "other")
    other.record([delivery("x", batch="other")], NOW)
    ledger.record([delivery("z"), delivery("a", "opened"), delivery("a", "closed")], NOW)
    ledger.record([delivery("a", "escalated")], NOW)
    assert keys(ledger.claim("task", NOW, LEASE)) == [
        ("z", "opened", "email"),
        ("a", "opened", "email"),
        ("a", "closed", "email"),
        ("a", "escalated", "email"),
    ]
    assert keys(other.claim("task", NOW, LEASE)) == [("x", "opened", "email")]
    with pytest.raises(StoreError, match="belongs to batch 'other'"):
        ledger.record([delivery("y", batch="other")], NOW)


def test_what_was_suppressed_or_sent_is_never_claimed(ledger):
    ledger.record([delivery("quiet", status="suppressed"), delivery("loud")], NOW)
    (claimed,) = ledger.claim("task", NOW, LEASE)
    assert claimed.event_id == "loud"
    ledger.sent([claimed], NOW)
    assert ledger.claim("task", NOW + timedelta(days=9), LEASE) == []
    ledger.settle([claimed], "failed", "too late")
    assert ledger.claim("task", NOW + timedelta(days=9), LEASE) == []


def test_a_claim_lasts_for_its_lease_and_then_is_taken_over(ledger):
    ledger.record([delivery("e")], NOW)
    assert len(ledger.claim("first", NOW, LEASE)) == 1
    assert ledger.claim("second", NOW, LEASE) == []
    assert ledger.claim("second", NOW + LEASE, LEASE) == []
    (taken,) = ledger.claim("second", NOW + LEASE + timedelta(microseconds=1), LEASE)
    assert taken.claims == 2


def test_its_clock_is_the_database_s_in_utc_and_goes_on(ledger):
    before = datetime.now(UTC)
    clock = ledger.clock()
    first, second = clock(), clock()
    # Both are of one machine here; some engines know no fractions of a second.
    assert before - timedelta(seconds=1) <= first < second <= datetime.now(UTC)


def test_a_claimant_gets_its_own_again_at_once(ledger):
    ledger.record([delivery("e")], NOW)
    (first,) = ledger.claim("dag.task.run", NOW, LEASE)
    (again,) = ledger.claim("dag.task.run", NOW, LEASE)
    assert (first.claims, again.claims) == (1, 2)


def test_a_failed_delivery_is_free_for_anyone_with_its_error_kept(database, ledger):
    ledger.record([delivery("e")], NOW)
    (first,) = ledger.claim("first", NOW, LEASE)
    ledger.settle([first], "failed", "550 mailbox 'x' unknown " + "y" * 5000)
    (error,) = database.run("SELECT error FROM metrics_deliveries")[0]
    assert error.startswith("550 mailbox 'x' unknown")
    assert len(error) == 2000
    (second,) = ledger.claim("second", NOW, LEASE)
    assert (second.status, second.claims) == ("failed", 2)
    ledger.sent([second], NOW)
    assert database.run("SELECT status, error FROM metrics_deliveries") == [("sent", None)]


def test_whoever_lost_its_claim_cannot_free_the_one_that_took_over(ledger):
    ledger.record([delivery("e")], NOW)
    (slow,) = ledger.claim("slow", NOW, LEASE)
    later = NOW + 2 * LEASE
    (taken,) = ledger.claim("quick", later, LEASE)
    ledger.settle([slow], "failed", "I was asleep")
    assert ledger.claim("third", later, LEASE) == []
    ledger.sent([slow], later)  # but what a provider acknowledged is sent, whoever says so
    ledger.settle([taken], "failed", "refused as a duplicate")
    assert ledger.claim("third", later + 2 * LEASE, LEASE) == []


def test_a_try_is_counted_when_it_begins_and_only_of_what_is_still_ours(ledger):
    ledger.record([delivery("e"), delivery("f"), delivery("g")], NOW)
    slow = ledger.claim("slow", NOW, LEASE)
    assert [each.attempts for each in slow] == [0, 0, 0]
    begun = ledger.begin(slow[:2], NOW + LEASE)
    assert [(each.event_id, each.attempts, each.tried_at) for each in begun] == [
        ("e", 1, NOW + LEASE),
        ("f", 1, NOW + LEASE),
    ]
    ledger.sent(begun[:1], NOW + LEASE)
    later = NOW + LEASE + timedelta(seconds=1)
    assert keys(ledger.claim("quick", later, LEASE)) == [("g", "opened", "email")]  # the lease of "f" began anew
    assert ledger.begin([slow[0], slow[2]], later) == []
    ledger.settle(begun[1:], "failed", "down")
    (again,) = ledger.claim("other", later, LEASE)
    assert (again.event_id, again.attempts, again.error) == ("f", 1, "down")


@pytest.mark.parametrize("status", ["abandoned", "suppressed"])
def test_what_was_given_up_is_never_claimed_until_it_is_put_back(ledger, status):
    ledger.record([delivery("e"), delivery("f")], NOW)
    begun = ledger.begin(ledger.claim("task", NOW, LEASE), NOW)
    ledger.settle(begun[:1], status, "no use")
    ledger.settle(begun[1:], "held", None)
    assert [(each.event_id, each.status) for each in ledger.claim("task", NOW, LEASE)] == [("f", "held")]
    put_back = ledger.retry_abandoned()
    assert put_back == (status == "abandoned")
    if put_back:
        assert [(each.event_id, each.status, each.attempts) for each in ledger.unsent()] == [
            ("e", "pending", 0),
            ("f", "held", 1),
        ]


def test_what_is_given_back_as_it_was_keeps_its_state(ledger):
    ledger.record([delivery("e")], NOW)
    ledger.settle(ledger.claim("task", NOW, LEASE), "failed", "down")
    ledger.release(ledger.claim("task", NOW, LEASE))
    (again,) = ledger.claim("other", NOW, LEASE)
    assert (again.status, again.error, again.attempts, again.claims) == ("failed", "down", 0, 3)


def test_messages_are_counted_per_channel_and_not_deliveries(ledger):
    ledger.record([delivery(f"e{i}", channel=channel) for i in range(4) for channel in ("email", "slack")], NOW)
    claimed = ledger.claim("task", NOW, LEASE)
    by_mail = [each for each in claimed if each.channel == "email"]
    ledger.sent(by_mail[:1], NOW - timedelta(days=7))
    ledger.sent(by_mail[1:2], NOW)
    ledger.sent(by_mail[2:], NOW + timedelta(hours=1))
    assert ledger.messages_since(NOW) == {"email": 2}


def test_the_history_of_events(ledger):
    other = delivery("e", "closed", status="suppressed")
    ledger.record([delivery("e"), other, delivery("f")], NOW)
    assert [(each.transition, each.status) for each in ledger.of_events(["e", "e", "x"])] == [
        ("opened", "pending"),
        ("closed", "suppressed"),
    ]
    assert ledger.of_events([]) == []


def test_processes_that_claim_at_once_share_without_overlap(database, ledger, processes, tmp_path):
    events = [f"event {number:03}" for number in range(60)]

    def worker(number):
        def work():
            mine = DeliveryLedger(database.hook(), "metrics", "sales")
            got = []
            for start in range(0, len(events), 10):
                mine.record([delivery(event) for event in events[start : start + 10]], NOW)
                got += [
                    each.event_id for each in mine.claim(f"task {number}", NOW, timedelta(days=1)) if each.claims == 1
                ]
            (tmp_path / f"claimed-{number}").write_text("\n".join(got))

        return work

    processes.all([worker(number) for number in range(6)])
    got = [path.read_text().splitlines() for path in tmp_path.glob("claimed-*")]
    assert len(got) == 6
    assert sorted(itertools.chain(*got)) == events


def test_a_process_killed_with_its_claims_loses_none(database, ledger, processes):
    ledger.record([delivery("e"), delivery("f")], NOW)

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
    hostile.record([Delivery(name, "opened", name, name, name)], NOW)
    (claimed,) = hostile.claim(name, NOW, LEASE)
    assert claimed == Delivery(name, "opened", name, name, name, recorded_at=NOW, seq=1, claims=1)
    hostile.settle([claimed], "failed", name)
    assert len(hostile.claim(name, NOW, LEASE)) == 1
    with pytest.raises(ValueError, match="no time zone"):
        hostile.claim(name, NOW.replace(tzinfo=None), LEASE)


@pytest.mark.parametrize("engine", ["duckdb", "postgres", "mysql"])
def test_it_stands_beside_the_metrics_in_their_schema(engine, make_database):
    database = make_database(engine)
    DeliveryLedger(database.hook(), "led.metrics", "sales").record([delivery("e")], NOW)
    assert database.run("SELECT count(*) FROM led.metrics_deliveries") == [(1,)]
    if engine != "duckdb":
        database.run(f"DROP SCHEMA led {'CASCADE' if engine == 'postgres' else ''}")


def test_whoever_asks_what_is_owed_makes_no_table(database):
    other = DeliveryLedger(database.hook(), "asked", "sales")
    assert other.unsent() == []
    assert other.delete_finished(NOW) == 0
    with pytest.raises(Exception, match=r"(?i)asked_deliveries"):
        database.run("SELECT count(*) FROM asked_deliveries")


def test_what_is_finished_and_old_is_deleted(database, ledger):
    assert DeliveryLedger(database.hook(), "not_there", "sales").delete_finished(NOW) == 0
    statuses = ("pending", "failed", "held", "sent", "suppressed", "abandoned")
    other = DeliveryLedger(database.hook(), "metrics", "other")
    other.record([delivery("x", batch="other", status="sent")], NOW)
    ledger.record([delivery(f"old {status}", status=status) for status in statuses], NOW)
    ledger.record([delivery(f"new {status}", status=status) for status in statuses], NOW + LEASE)
    assert ledger.delete_finished(NOW) == 0
    assert ledger.delete_finished(NOW + LEASE) == 2
    assert ledger.delete_finished(NOW + LEASE) == 0
    left = {event for (event,) in database.run("SELECT event_id FROM metrics_deliveries")}
    kept = {f"old {status}" for status in statuses if status not in ("sent", "suppressed")}
    assert left == kept | {f"new {status}" for status in statuses} | {"x"}


def test_a_delivery_recorded_after_the_newest_was_deleted_has_a_place_of_its_own(ledger):
    ledger.record([delivery("waits"), delivery("went", status="sent")], NOW)
    ledger.delete_finished(NOW + LEASE)
    ledger.record([delivery("next")], NOW + LEASE)
    claimed = ledger.claim("task", NOW + LEASE, LEASE)
    assert keys(claimed) == [("waits", "opened", "email"), ("next", "opened", "email")]
    assert len({each.seq for each in claimed}) == 2
