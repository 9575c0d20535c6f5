"""One set of promises, on every engine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest

from anomstack_provider.store.dialects import DIALECTS
from anomstack_provider.store.errors import StoreError
from anomstack_provider.store.metric_store import MetricStore

T0 = datetime(2024, 1, 1, tzinfo=UTC)
LATE = datetime(2100, 1, 1, tzinfo=UTC)
HOSTILE = [
    "it's",
    'a "quoted" one',
    "x; DROP TABLE metrics; --",
    "a/b\\c.d",
    "50% off %s %(x)s",
    "$batch {table} :name ?",
    "caf\u00e9 \u2603 \U0001f4c8",
    " tab\there\nand there ",
    "n" * 200,
]


def hours(count, start=T0):
    return [(start + timedelta(hours=hour)).replace(tzinfo=None) for hour in range(count)]


@pytest.fixture
def store(database):
    store = MetricStore(database.hook(), "metrics", "sales")
    store.ensure_table()
    return store


def test_what_is_written_is_read_back_to_the_bit_and_the_microsecond(database, frame, store):
    unsigned = {"sqlite", "mysql", "snowflake", "bigquery"}  # these keep no sign of a zero
    zero = 0.0 if database.engine in unsigned else -0.0
    values = [1e308, zero, 0.0, 5e-324, -1.7976931348623157e308, 0.1 + 0.2, 1 / 3, 123456789.123456789]
    texts = [None, "", '{"a": 1}', "back\\slash", "tab\tnew\nline\r", "\\N", "it's", "\u2603 \U0001f4c8"]
    times = [T0.replace(tzinfo=None) + timedelta(microseconds=step) for step in range(len(values))]
    rows = frame(list(zip(["m"] * 8, ["metric"] * 8, times, values, texts, strict=True)))

    assert store.replace(rows) == 8
    read = MetricStore(database.hook(), "metrics", "sales").read(["metric"], since=None, until=LATE)

    assert list(read.columns) == ["metric_name", "metric_type", "metric_timestamp", "metric_value", "metadata"]
    assert read["metric_timestamp"].dtype == np.dtype("datetime64[us]")
    assert (read["metric_timestamp"].to_numpy() == rows["metric_timestamp"].to_numpy()).all()
    print("VALUES", read["metric_value"].tolist())
    assert (read["metric_value"].to_numpy().view("u8") == np.array(values).view("u8")).all()
    assert read["metadata"].tolist() == texts


def test_rows_come_sorted_by_name_type_and_time_whatever_the_collation(frame, store):
    names = ["b", "a", "B", "A", "_", "\u00e9", "Z", "a b", "\U0001f4c8"]
    keys = [(name, kind, time) for name in names for kind in ("score", "metric") for time in hours(2)]
    order = np.random.default_rng(1).permutation(len(keys))
    store.replace(frame([(*keys[index], float(index)) for index in order]))

    read = store.read(["metric", "score"], since=None, until=LATE)

    found = list(zip(read.metric_name, read.metric_type, read.metric_timestamp, strict=True))
    assert found == sorted(keys)


def test_replace_touches_its_own_keys_only(database, frame, store, stored):
    other = MetricStore(database.hook(), "metrics", "sale")
    other.replace(frame([("m", "metric", hours(1)[0], 7.0)]))
    first, second, third = hours(3)
    store.replace(frame([("m", "metric", first, 1.0), ("m", "metric", second, 2.0), ("n", "metric", second, 3.0)]))
    store.replace(frame([("m", "score", second, 0.5)]))

    assert store.replace(frame([("m", "metric", second, 20.0), ("m", "metric", third, 30.0)])) == 2

    assert [(row[0], row[1], row[2][11:13], float.fromhex(row[3])) for row in stored(store)] == [
        ("m", "metric", "00", 1.0),
        ("m", "metric", "01", 20.0),
        ("m", "metric", "02", 30.0),
        ("m", "score", "01", 0.5),
        ("n", "metric", "01", 3.0),
    ]
    assert len(stored(other)) == 1


def test_replace_twice_leaves_one_row_and_a_clear_takes_rows_away(frame, store, stored):
    rows = frame([("m", "score", time, 0.5) for time in hours(4)])
    store.replace(rows)
    before = stored(store)
    store.replace(rows)
    assert stored(store) == before

    gone = rows[["metric_timestamp", "metric_name", "metric_type"]].iloc[1:]  # overlaps with what is written
    assert store.replace(rows.iloc[1:2], clear=gone) == 1
    assert [row[2][11:13] for row in stored(store)] == ["00", "01"]
    assert store.replace(rows.iloc[:0], clear=rows) == 0
    assert stored(store) == []


def test_the_names_of_a_range_are_those_with_a_row_of_the_type_in_it(frame, store):
    early, late = hours(2)
    store.replace(frame([("b'ß", "metric", early, 1.0), ("a", "metric", late, 1.0), ("z", "score", late, 0.5)]))

    assert store.metric_names("metric", since=None, until=LATE) == ["a", "b'ß"]
    assert store.metric_names("metric", since=T0 + timedelta(hours=1), until=LATE) == ["a"]
    assert store.metric_names("metric", since=None, until=T0 + timedelta(hours=1)) == ["b'ß"]
    assert store.metric_names("change", since=None, until=LATE) == []


def test_a_range_is_half_open_and_aware_times_are_taken_in_their_zone(frame, store):
    store.replace(frame([("m", "metric", time, 1.0) for time in hours(6)]))
    east = timezone(timedelta(hours=2))

    read = store.read(
        ["metric"], since=datetime(2024, 1, 1, 3, tzinfo=east), until=datetime(2024, 1, 1, 6, tzinfo=east)
    )

    assert [time.hour for time in read.metric_timestamp] == [1, 2, 3]
    assert store.newest_timestamp("metric", datetime(2024, 1, 1, 6, tzinfo=east)) == T0 + timedelta(hours=3)
    assert store.newest_timestamp("metric", T0) is None
    assert store.newest_timestamp("score", LATE) is None
    with pytest.raises(ValueError, match="no time zone"):
        store.read(["metric"], since=None, until=datetime(2024, 1, 1))


def test_newest_counts_per_metric_and_type_before_the_cut(frame, store):
    rows = [(name, kind, time, 1.0) for name in "ab" for kind in ("metric", "score") for time in hours(10)]
    store.replace(frame([row for row in rows if row[0] == "a" or row[2].hour % 3 == 0]))

    read = store.read(
        ["metric", "score"], since=T0, until=T0 + timedelta(hours=9), newest=2, cut=T0 + timedelta(hours=6)
    )

    found = {
        key: [time.hour for time in part.metric_timestamp] for key, part in read.groupby(["metric_name", "metric_type"])
    }
    assert found == {
        ("a", "metric"): [4, 5, 6, 7, 8],
        ("a", "score"): [4, 5, 6, 7, 8],
        ("b", "metric"): [0, 3, 6],
        ("b", "score"): [0, 3, 6],
    }
    without_cut = store.read(["metric"], since=None, until=T0 + timedelta(hours=9), newest=3)
    assert [time.hour for time in without_cut.metric_timestamp] == [6, 7, 8, 0, 3, 6]


def test_any_read_gives_what_plain_python_selects(frame, store):
    """Random ranges against a model in Python; the table is written once."""
    rng = np.random.default_rng(7)
    keys = sorted(
        {(f"m{rng.integers(5)}", str(rng.choice(["metric", "score"])), int(rng.integers(60))) for _ in range(250)}
    )
    at = hours(60)
    store.replace(frame([(name, kind, at[hour], hour) for name, kind, hour in keys]))
    for _ in range(25):
        since, until, cut = (int(edge) for edge in rng.integers(-2, 62, 3))
        newest = int(rng.integers(0, 8)) if rng.random() < 0.7 else None
        metrics = [f"m{index}" for index in rng.integers(0, 7, 3)] if rng.random() < 0.5 else None
        types = ["metric"] if rng.random() < 0.5 else ["score", "metric"]
        inside = [
            key
            for key in keys
            if since <= key[2] < until and key[1] in types and (metrics is None or key[0] in metrics)
        ]
        if newest is not None:
            old = {key: [] for key in {(name, kind) for name, kind, _ in inside}}
            for name, kind, hour in inside:
                if hour < cut:
                    old[name, kind].append(hour)
            kept = {
                (*key, hour)
                for key, found in old.items()
                for hour in sorted(found)[len(found) - newest if newest < len(found) else 0 :]
            }
            inside = [key for key in inside if key[2] >= cut or key in kept]

        read = store.read(
            types,
            since=T0 + timedelta(hours=since),
            until=T0 + timedelta(hours=until),
            newest=newest,
            cut=T0 + timedelta(hours=cut),
            metrics=metrics,
        )

        assert list(zip(read.metric_name, read.metric_type, read.metric_value.astype(int), strict=True)) == inside


def test_ten_thousand_names_take_as_many_statements_as_one(database, frame, store, tapped):
    names = [f"metric {index}'s" for index in range(10_000)]
    calls = []
    watched = MetricStore(tapped(database.hook(), lambda name, args: calls.append(name)), "metrics", "sales")

    def statements(work):
        calls.clear()
        work()
        return len(calls)

    watched.read(["metric"], since=None, until=LATE)  # learns the type of the time column
    at = hours(1)[0]
    one = statements(lambda: watched.replace(frame([(names[0], "metric", at, 1.0)])))
    assert statements(lambda: watched.replace(frame([(name, "metric", at, 1.0) for name in names]))) == one
    one = statements(lambda: watched.read(["metric"], since=None, until=LATE, metrics=names[:1]))
    assert statements(lambda: watched.read(["metric"], since=None, until=LATE, metrics=names)) == one
    assert len(watched.read(["metric"], since=None, until=LATE, metrics=[*names, "not there"])) == 10_000
    assert watched.read(["metric"], since=None, until=LATE, metrics=names[5:6]).metric_name.tolist() == names[5:6]
    assert watched.read(["metric"], since=None, until=LATE, metrics=[]).empty


def test_no_table_yet_reads_as_empty_and_is_made_by_the_first_replace(database, frame, stored):
    store = MetricStore(database.hook(), "metrics", "sales")
    empty = store.read(["metric"], since=None, until=LATE, newest=3, metrics=["m"])
    assert empty.empty
    assert empty["metric_timestamp"].dtype == np.dtype("datetime64[us]")
    assert empty["metric_value"].dtype == np.dtype("float64")
    assert store.newest_timestamp("metric", LATE) is None
    assert store.metric_names("metric", since=None, until=LATE) == []
    assert store.delete_before(LATE) == 0

    store.replace(frame([("m", "metric", hours(1)[0], 1.0)]))
    assert len(stored(store)) == 1
    store.ensure_table()
    assert len(stored(store)) == 1


def test_delete_before_is_for_every_type_of_this_batch(database, frame, store, stored):
    rows = frame([("m", kind, time, 1.0) for kind in ("metric", "score", "odd") for time in hours(4)])
    store.replace(rows)
    other = MetricStore(database.hook(), "metrics", "other")
    other.replace(rows)

    assert store.delete_before(T0 + timedelta(hours=2)) == 6
    assert [row[2][11:13] for row in stored(store, ["odd"])] == ["02", "03"]
    assert len(stored(other, ["metric", "score", "odd"])) == 12


def test_deleting_goes_on_until_nothing_is_left_in_transactions_of_a_bounded_size(database, frame, store, tapped):
    rows = frame([(name, "metric", time, 1.0) for name in "abc" for time in hours(5)])
    store.replace(rows)
    statements: list[str] = []

    def note(method: str, args: tuple[object, ...]) -> None:
        if method == "execute" and "DELETE" in str(args[0]):
            statements.append(str(args[0]))

    watched = MetricStore(tapped(database.hook(), note), "metrics", "sales")
    assert watched.delete_before(T0 + timedelta(hours=4), most=5) == 12
    assert len(statements) == 3
    assert watched.delete_before(T0 + timedelta(hours=4), most=5) == 0
    assert len(watched.read(["metric"], since=None, until=LATE)) == 3


def test_what_is_spared_stays_and_is_not_asked_for_again_and_again(database, frame, store, stored):
    store.replace(
        frame([(name, kind, time, 1.0) for name in "ab" for kind in ("metric", "snooze") for time in hours(3)])
    )
    spare = frame(
        [("a", "snooze", hours(3)[0], 0.0), ("a", "snooze", hours(3)[2], 0.0), ("gone", "x", hours(1)[0], 0.0)]
    )
    assert store.delete_before(T0 + timedelta(hours=3), spare=spare, most=1) == 10
    assert [row[:3] for row in stored(store, ["metric", "snooze"])] == [
        ("a", "snooze", str(pd.Timestamp(hours(3)[at]))) for at in (0, 2)
    ]
    assert store.delete_before(T0 + timedelta(hours=3), spare=spare) == 0


def test_a_table_is_looked_at_with_all_its_columns(database, frame, store):
    new = MetricStore(database.hook(), "not_there", "sales")
    assert not new.has_table()
    store.replace(frame([("m", "metric", hours(1)[0], 1.0)]))
    assert store.has_table()
    database.run("CREATE TABLE half (metric_timestamp TIMESTAMP, metric_batch VARCHAR(9), metric_value FLOAT)")
    with pytest.raises(Exception, match=r"(?i)metric_name"):
        MetricStore(database.hook(), "half", "sales").has_table()


def test_hostile_names_are_only_names(database, frame, stored):
    at = hours(1)[0]
    for number, batch in enumerate(HOSTILE):
        store = MetricStore(database.hook(), "metrics", batch)
        store.replace(frame([(name, "metric", at, float(number), name) for name in HOSTILE]))
    for number, batch in enumerate(HOSTILE):
        store = MetricStore(database.hook(), "metrics", batch)
        found = stored(store)
        assert [row[0] for row in found] == sorted(HOSTILE)
        assert {float.fromhex(row[3]) for row in found} == {float(number)}
        assert all(row[4] == row[0] for row in found)
        assert store.read(["metric"], since=None, until=LATE, metrics=[batch]).metric_name.tolist() == [batch]


@pytest.mark.parametrize(
    "table", ['m"; DROP TABLE metrics; --', "50% (x)s %s", "it's", "Met rics", "caf\u00e9 $x :y", "select"]
)
def test_a_hostile_table_key_is_only_a_table(database, frame, store, stored, table):
    store.replace(frame([("m", "metric", hours(1)[0], 1.0)]))
    odd = MetricStore(database.hook(), table, "sales")
    odd.ensure_table()
    odd.replace(frame([("m", "metric", hours(1)[0], 2.0)]))

    assert [float.fromhex(row[3]) for row in stored(odd)] == [2.0]
    assert [float.fromhex(row[3]) for row in stored(store)] == [1.0]


@pytest.mark.parametrize("table", ["", ".", "a.", ".b", " ", "a..b", "a\0b"])
def test_an_impossible_table_key_is_refused(database, table):
    with pytest.raises(StoreError, match=r"expected a name such as 'metrics' or 'schema\.metrics'"):
        MetricStore(database.hook(), table, "sales")


@pytest.mark.parametrize("engine", ["duckdb", "postgres", "mysql"])
def test_a_dotted_table_key_is_a_schema_and_a_table(engine, make_database, frame, stored):
    database = make_database(engine)
    store = MetricStore(database.hook(), "anoma ly.metrics", "sales")
    store.ensure_table()
    store.replace(frame([("m", "metric", hours(1)[0], 1.0)]))
    assert len(stored(store)) == 1
    quoted = DIALECTS[engine].quoted
    assert database.run(f"SELECT count(*) FROM {quoted('anoma ly.metrics')}") == [(1,)]
    if database.engine != "duckdb":
        database.run(f"DROP SCHEMA {quoted('anoma ly')} {'CASCADE' if engine == 'postgres' else ''}")


def test_nothing_to_write_is_fine(frame, store, stored):
    assert store.replace(frame([])) == 0
    assert store.replace(pd.DataFrame(columns=frame([]).columns)) == 0
    assert stored(store) == []
