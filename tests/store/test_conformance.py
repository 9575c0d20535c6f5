"""
What every engine that keeps metrics has to pass, beside the other tests of this folder that take ``database``.

An engine is added by a fixture, see ``tests/database_fixtures.py``. What an engine cannot do is said here by name.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.steps import check, delete, summary
from anomstack_provider.store.dialects import DIALECTS
from anomstack_provider.store.errors import RowsRefused
from anomstack_provider.store.ledger import Delivery, DeliveryLedger
from anomstack_provider.store.metric_store import MetricStore

LATE = datetime(2300, 1, 1, tzinfo=UTC)
NEW_YORK = ZoneInfo("America/New_York")

MOMENTS = [
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(1900, 2, 28, 12, 30, 15, 123456, tzinfo=UTC),
    datetime(2200, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2024, 2, 29, 0, 0, tzinfo=UTC),
    datetime(2024, 6, 1, 12, 0, 0, 999999, tzinfo=UTC),
    *(datetime(2024, 3, 10, hour, 30, tzinfo=NEW_YORK) for hour in (1, 3)),  # the hour between them was left out
    *(datetime(2024, 11, 3, 1, 30, fold=fold, tzinfo=NEW_YORK) for fold in (0, 1)),  # and this one came twice
]

# Each of a group is told from the others by one engine or another only if it is asked to.
ALIKE = [
    "orders",
    "Orders",
    "ORDERS",
    "orders ",
    " orders",
    "orders\t",
    "\u00f6rders",
    "o\u0308rders",  # the same to the eye
    "ss",
    "\u00df",
    "i",
    "\u0131",
    "\U0001f4c8",
    "\U0001f4c9",
    "",
    "'",
    '"',
    "`",
    "``",
    ";--",
    "/",
    "\\",
    "\\\\",
    "%",
    "%s",
    "%%",
    "$name",
    ":name",
    "?",
    "{table}",
    "\u05e9\u05dc\u05d5\u05dd",
    "\u202eorders",
    "1",
    "01",
    "1.0",
    "NULL",
    "n" * 200,
    "n" * 199 + "N",
    "\U0001f4c8" * 200,
]

VALUES = [1e308, 5e-324, -5e-324, 1.7976931348623157e308, 2.2250738585072014e-308, 0.1, 1 / 3, 2.0**53 + 2, -1e-300]


@pytest.fixture
def store(database):
    return MetricStore(database.hook(), "metrics", "sales")


def naive(moment):
    return moment.astimezone(UTC).replace(tzinfo=None)


def test_times_are_kept_to_the_microsecond(store, frame):
    store.replace(frame([("m", "metric", naive(moment), float(place)) for place, moment in enumerate(MOMENTS)]))
    read = store.read(["metric"], since=None, until=LATE)
    order = np.argsort(np.array([naive(moment) for moment in MOMENTS], dtype="datetime64[us]"))
    assert read["metric_value"].tolist() == order.tolist()
    assert [str(time) for time in read["metric_timestamp"].to_numpy()] == [
        str(np.datetime64(naive(MOMENTS[place]), "us")) for place in order
    ]
    for place, local in enumerate(MOMENTS):
        moment = local.astimezone(UTC)
        assert len(store.read(["metric"], since=local, until=moment)) == 0
        one = store.read(["metric"], since=local, until=moment + timedelta(microseconds=1))
        assert one["metric_value"].tolist() == [float(place)]
        assert store.newest_timestamp("metric", moment + timedelta(microseconds=1)) == moment


def test_times_of_any_frame_are_stored_in_utc(store, frame):
    """Naive, aware, of other units, and dates: what an ``ingest_fn`` or a query may give."""
    times = {
        "naive": pd.Series(np.array(["2024-06-01T12:00:00.123456"], "M8[us]")),
        "aware": pd.Series(pd.to_datetime(["2024-06-01T08:00:00.123456-04:00"])).dt.tz_convert(NEW_YORK),
        "nanoseconds": pd.Series(np.array(["2024-06-01T12:00:00.123456789"], "M8[ns]")),
        "seconds": pd.Series(np.array(["2024-06-01T12:00:00"], "M8[s]")),
        "date": pd.Series(np.array(["2024-06-01"], "M8[D]").astype("M8[us]")),
    }
    for name, time in times.items():
        store.replace(frame([(name, "metric", datetime(2000, 1, 1), 1.0)]).assign(metric_timestamp=time))
    read = store.read(["metric"], since=None, until=LATE).set_index("metric_name")["metric_timestamp"]
    assert {name: str(np.datetime64(time, "us")) for name, time in read.items()} == {
        "naive": "2024-06-01T12:00:00.123456",
        "aware": "2024-06-01T12:00:00.123456",
        "nanoseconds": "2024-06-01T12:00:00.123456",
        "seconds": "2024-06-01T12:00:00.000000",
        "date": "2024-06-01T00:00:00.000000",
    }


def test_values_are_kept_to_the_bit_and_what_is_no_number_is_refused(store, frame):
    at = datetime(2024, 1, 1)
    store.replace(frame([(f"m{place}", "metric", at, value) for place, value in enumerate(VALUES)]))
    read = store.read(["metric"], since=None, until=LATE)["metric_value"]
    assert [value.hex() for value in read] == [value.hex() for value in VALUES]
    for value in (float("nan"), float("inf"), float("-inf")):
        with pytest.raises(RowsRefused, match=r"metric 'x' \(metric\) at 2024-01-01.*not a finite number"):
            store.replace(frame([("x", "metric", at, value)]))


def test_names_that_only_look_alike_are_different_metrics(store, frame):
    at = datetime(2024, 1, 1)
    rows = frame([(name, "metric", at, float(place), name) for place, name in enumerate(ALIKE)])
    for _ in range(2):  # the second time by replacing each
        store.replace(rows)
        read = store.read(["metric"], since=None, until=LATE)
        assert dict(zip(read["metric_name"], read["metric_value"], strict=True)) == dict(
            zip(ALIKE, range(len(ALIKE)), strict=True)
        )
        assert read["metric_name"].tolist() == sorted(ALIKE)
        assert (read["metadata"] == read["metric_name"]).all()
    assert store.metric_names("metric", since=None, until=LATE) == sorted(ALIKE)
    newest = store.read(["metric"], since=None, until=LATE, newest=1)
    assert newest["metric_name"].tolist() == sorted(ALIKE)
    for place, name in enumerate(ALIKE):
        if place % 5 == 0:
            found = store.read(["metric"], since=None, until=LATE, metrics=[name])
            assert found["metric_name"].tolist() == [name]
    assert store.delete_before(LATE, spare=rows.iloc[1:4]) == len(ALIKE) - 3
    assert store.metric_names("metric", since=None, until=LATE) == sorted(ALIKE[1:4])


def test_batches_that_only_look_alike_do_not_see_each_other(database, frame):
    names = ["sales", "Sales", "sales ", "s\u00e4les", "sales\\", "%", "b" * 200]
    at = datetime(2024, 1, 1)
    stores = [MetricStore(database.hook(), "metrics", name) for name in names]
    for place, store in enumerate(stores):
        store.replace(frame([("m", "metric", at, float(place))]))
    assert [store.read(["metric"], since=None, until=LATE)["metric_value"].tolist() for store in stores] == [
        [float(place)] for place in range(len(names))
    ]
    assert stores[0].delete_before(LATE) == 1
    assert all(len(store.read(["metric"], since=None, until=LATE)) == 1 for store in stores[1:])


def test_a_megabyte_of_metadata_is_kept(store, frame):
    text = ('\U0001f4c8 it\'s \\ "x"\n' * 100_000)[:1_000_000]
    at = datetime(2024, 1, 1)
    store.replace(frame([("big", "metric", at, 1.0, text), ("small", "metric", at, 2.0, "x")]))
    assert store.read(["metric"], since=None, until=LATE)["metadata"].tolist() == [text, "x"]


def test_the_ledger_keeps_what_it_is_given(database):
    now = datetime(2024, 11, 3, 5, 30, 0, 123456, tzinfo=UTC)
    payload = ("\U0001f4c8 it's \\ \n" * 100_000)[:1_000_000]
    deliveries = [
        Delivery(f"{number:032x}", transition, channel, "sales", payload if number == place == 0 else "{}")
        for number in range(3)
        for transition in ("opened", "Opened")
        for place, channel in enumerate(("email", "Email", "email ", "slack:#p\u00e4yments", "c" * 200))
    ]
    ledger = DeliveryLedger(database.hook(), "metrics", "sales")
    assert ledger.record(deliveries, now) == 30
    assert ledger.record(deliveries, now) == 0
    claimed = ledger.claim("me", now, timedelta(minutes=1))
    assert [(one.event_id, one.transition, one.channel) for one in claimed] == [
        (one.event_id, one.transition, one.channel) for one in deliveries
    ]
    assert claimed[0].payload == payload
    assert {one.recorded_at for one in claimed} == {now}
    begun = ledger.begin(claimed[:5], now + timedelta(microseconds=1))
    assert [one.attempts for one in begun] == [1] * 5
    ledger.sent(begun[:2], now + timedelta(seconds=1))
    ledger.settle(begun[2:4], "failed", "it's refused \U0001f4c8")
    ledger.release(claimed[4:])
    assert len(ledger.claim("other", now, timedelta(minutes=1))) == 28
    assert ledger.messages_since(now) == {"email": 1, "Email": 1}


def test_maintenance_does_its_work_once(database, store, frame):
    """Deleting rows and deliveries, the summary and the check of the table, each as its task calls it, twice."""
    as_of = datetime(2024, 6, 1, tzinfo=UTC)
    spec = BatchSpec.model_validate(
        {"metric_batch": "sales", "schedule": "@daily", "ingest_sql": "-", "delete_after_n_days": 30}
    )
    days = [datetime(2024, 4, 2) + timedelta(days=number) for number in range(60)]
    assert list(check.metrics_table(spec, as_of, store)) == [
        check.Finding("metrics table", "there is no table 'metrics' yet: nothing was ingested", False)
    ]
    store.replace(frame([("orders", "metric", day, 1.0) for day in days]))
    store.replace(frame([("orders", kind, days[-1], 1.0) for kind in ("score", "alert")]))
    store.replace(frame([("it's quiet", "metric", day, 1.0) for day in days[:-2]]))
    others = MetricStore(database.hook(), "metrics", "others")
    others.replace(frame([("orders", "metric", days[0], 1.0)]))
    ledger = DeliveryLedger(database.hook(), "metrics", "sales")
    for day in (days[0], days[-1]):
        sent = Delivery(f"{day:%Y-%m-%d}", "opened", "email", "sales", "{}", "sent")
        ledger.record([sent], day.replace(tzinfo=UTC))

    told = summary.summarise(spec, as_of, store)
    assert told.metrics == {"orders": summary.MetricSummary(values=1, scores=1, alerts=1)}
    assert told.not_evaluated == {"it's quiet": "no data"}
    for rows, deliveries in ((60, 1), (0, 0)):
        assert delete.delete_rows(spec, as_of, store) == rows
        assert delete.delete_deliveries(spec, as_of, ledger) == deliveries
        assert summary.summarise(spec, as_of, store) == told
        assert list(check.metrics_table(spec, as_of, store)) == []
    assert store.read(["metric"], since=None, until=LATE)["metric_timestamp"].min() == datetime(2024, 5, 2)
    assert len(others.read(["metric"], since=None, until=LATE)) == 1


# Engines that keep no row out, and what does instead: writers take turns (tests of concurrency).
WITHOUT_CONSTRAINT = {
    "duckdb": "has one writer at a time",
    "snowflake": "enforces no unique key",
    "bigquery": "enforces no unique key",
    "clickhouse": "has none; readers see the last row of a key",
}


def test_a_row_written_again_beside_the_store_is_refused_or_read_once(database, store, frame):
    store.replace(frame([("m", "metric", datetime(2024, 1, 1), 1.0)]))
    table = DIALECTS[database.engine].quoted("metrics")
    again = f"INSERT INTO {table} SELECT * FROM {table}"
    if "unique" in DIALECTS[database.engine].options:
        with pytest.raises(Exception, match=re.compile("unique|duplicate", re.IGNORECASE)):
            database.run(again)
    else:
        assert database.engine in WITHOUT_CONSTRAINT
        database.run(again)
    assert len(store.read(["metric"], since=None, until=LATE)) == 1
