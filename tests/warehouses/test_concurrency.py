"""Several writers on one warehouse: small tests, as an emulator takes a second for a replacement."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from anomstack_provider.store.ledger import Delivery, DeliveryLedger
from anomstack_provider.store.metric_store import MetricStore

START = datetime(2024, 1, 1)
LATE = datetime(2100, 1, 1, tzinfo=UTC)
NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
SHARED = [(f"shared {number}", "metric", START) for number in range(5)]


def test_writers_lose_nothing_and_no_reader_sees_half_of_a_replacement(database, frame, workers):
    def writer(number):
        def work():
            for turn in range(2):
                own = (f"writer {number}", "metric", START + timedelta(hours=turn), float(number))
                rows = frame([own, *((*key, float(number)) for key in SHARED)])
                MetricStore(database.hook(), "metrics", "sales").replace(rows)

        return work

    def reader():
        for _ in range(6):
            found = MetricStore(database.hook(), "metrics", "sales").read(["metric"], since=None, until=LATE)
            values = found.loc[found["metric_name"].str.startswith("shared"), "metric_value"]
            assert len(values) in (0, len(SHARED))
            assert values.nunique() <= 1, "half of a replace was seen"

    workers.all([*(writer(number) for number in range(3)), reader])

    found = MetricStore(database.hook(), "metrics", "sales").read(["metric"], since=None, until=LATE)
    assert len(found) == 3 * 2 + len(SHARED)
    assert database.run("SELECT count(*) FROM metrics") == [(3 * 2 + len(SHARED),)]


def test_workers_that_claim_at_once_share_without_overlap(database, workers, tmp_path):
    ledger = DeliveryLedger(database.hook(), "metrics", "sales")
    ledger.record([Delivery(f"e{number}", "opened", "mail", "sales", "{}") for number in range(6)], NOW)

    def claimant(number):
        def work():
            mine = DeliveryLedger(database.hook(), "metrics", "sales")
            claimed = mine.claim(f"task {number}", NOW, timedelta(minutes=5))
            begun = mine.begin(claimed, NOW)
            (tmp_path / f"{number}.claimed").write_text("".join(f"{delivery.event_id}\n" for delivery in begun))
            mine.sent(begun, NOW)

        return work

    workers.all([claimant(number) for number in range(4)])
    told = [line for file in tmp_path.glob("*.claimed") for line in file.read_text().splitlines()]
    assert sorted(told) == [f"e{number}" for number in range(6)]
    assert {delivery.status for delivery in ledger.of_events(told)} == {"sent"}
