"""What the delete step takes from the stores of a batch, and that neither runs nor replays miss it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anomstack_provider.artifacts.model_store import ModelKey
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps import delete, feedback
from anomstack_provider.steps.alert import alert
from anomstack_provider.steps.ingest import ingest, windows
from anomstack_provider.steps.score import score
from anomstack_provider.steps.train import model_key, train
from anomstack_provider.store.hooks import EmbeddedDuckDBHook
from anomstack_provider.store.ledger import Delivery, DeliveryLedger
from tests.steps.conftest import Rig, at, noise

RigOf = Callable[..., Rig]


def test_rows_of_every_type_go_by_the_time_of_the_run(rig: RigOf) -> None:
    r = rig(delete_after_n_days=10)
    r.put("m", noise(30))
    scores = r.rows("metric").assign(metric_type="score", metadata='{"grain": "1d"}')
    r.store.replace(scores)
    # A run of the past deletes what it would have deleted then.
    assert delete.delete_rows(r.spec, at("2024-01-13"), r.store) == 4
    assert delete.delete_rows(r.spec, at("2024-01-31"), r.store) == 2 * 18
    assert delete.delete_rows(r.spec, at("2024-01-31"), r.store) == 0
    assert delete.delete_rows(r.spec, at("2024-01-13"), r.store) == 0
    for kind in ("metric", "score"):
        assert r.rows(kind)["metric_timestamp"].min() == pd.Timestamp("2024-01-21")


def test_a_snooze_that_holds_stays_and_other_verdicts_go(rig: RigOf) -> None:
    r = rig(delete_after_n_days=10)
    r.put("m", noise(30))

    def say(word: str, day: str, until: datetime | None = None) -> None:
        given = at("2024-01-12")
        feedback.give(r.spec, r.store, "m", at(day), word, given_at=given, by="ann", note="", until=until)

    say("real", "2024-01-02")
    say("snooze", "2024-01-03", at("2024-01-15"))  # over before the first row that is kept
    say("snooze", "2024-01-04", at("2024-03-01"))
    say("snooze", "2024-01-05", at("2024-03-01"))
    later = at("2024-01-24")
    feedback.give(r.spec, r.store, "m", at("2024-01-05"), "real", given_at=later, by="bob", note="", until=None)
    say("expected", "2024-01-25")
    delete.delete_rows(r.spec, at("2024-01-31"), r.store)
    left = {(v.bucket.day, v.word) for v in feedback.read(r.store)["m"]}
    # The one that was taken back held for runs that can still be replayed.
    assert left == {(4, "snooze"), (5, "snooze"), (5, "real"), (25, "expected")}


def test_a_run_after_it_gives_what_one_without_it_gives(rig: RigOf) -> None:
    """Nothing that a run reads is gone as long as rows are kept longer than training reads."""
    spec = {
        "delete_after_n_days": 60,
        "train_metric_timestamp_max_days_ago": 30,
        "freshness": "off",
        "false_alarms_per_month": 5,
    }
    values = noise(100)
    values[80] = 300
    told: list[Any] = []
    for deletes in (False, True):
        r = rig(**spec, table_key=f"metrics_{deletes}", model_path="unused")
        r.put("m", values)
        for day in range(75, 95):
            window = RunWindow(at("2024-01-01") + timedelta(days=day), at("2024-01-01") + timedelta(days=day + 1))
            train(r.spec, window, r.store, r.models)
            score(r.spec, window, r.store, r.models)
            alert(r.spec, window, r.store, r.models)
            if deletes:
                delete.delete_rows(r.spec, window.as_of, r.store)
        assert (r.rows("metric")["metric_timestamp"].min() > pd.Timestamp("2024-02-01")) is deletes
        # And a replay of a window that is kept writes what is there already.
        window = r.window("2024-03-21", "2024-03-22")
        before = pd.concat([r.rows("score"), r.rows("alert")])
        score(r.spec, window, r.store, r.models)
        alert(r.spec, window, r.store, r.models)
        pd.testing.assert_frame_equal(pd.concat([r.rows("score"), r.rows("alert")]), before)
        recent = pd.Timestamp("2024-02-10")
        told.append([frame[frame["metric_timestamp"] >= recent] for frame in (r.rows("score"), r.rows("alert"))])
    for without, with_deletes in zip(*told, strict=True):
        assert len(without)
        pd.testing.assert_frame_equal(without.reset_index(drop=True), with_deletes.reset_index(drop=True))


# --- history that was deleted is not loaded again ---------------------------------------------------------------------


def daily(window: RunWindow) -> pd.DataFrame:
    """One row a day until the source fell silent."""
    times = pd.date_range(window.start, window.end, freq="1D", inclusive="left").tz_convert(None)
    times = times[times < "2024-03-01"]
    return pd.DataFrame({"metric_timestamp": times, "metric_name": "m", "metric_value": 1.0})


def test_history_is_loaded_as_far_back_as_it_is_kept(rig: RigOf) -> None:
    r = rig(history_start="2020-01-01", delete_after_n_days=20)
    window = r.window("2024-02-09", "2024-02-10")
    ingest(r.spec, window, r.store, daily)
    assert r.rows("metric")["metric_timestamp"].min() == pd.Timestamp("2024-01-21")
    assert delete.delete_rows(r.spec, window.as_of, r.store) == 0


def test_a_source_that_fell_silent_is_not_loaded_from_its_beginning_for_ever(rig: RigOf) -> None:
    r = rig(history_start="2020-01-01", delete_after_n_days=20)
    ingest(r.spec, r.window("2024-02-28", "2024-02-29"), r.store, daily)
    for day in ("2024-03-20", "2024-04-20"):
        window = RunWindow(at(day) - timedelta(days=1), at(day))
        delete.delete_rows(r.spec, window.as_of, r.store)
        asked = list(windows(r.spec, window, r.store))
        assert asked[0].start >= window.end - timedelta(days=20)
        assert asked[-1] == window
        ingest(r.spec, window, r.store, daily)
        assert delete.delete_rows(r.spec, window.as_of, r.store) == 0
    assert r.rows("metric").empty


def test_history_begins_at_a_tick_and_all_of_it_is_loaded_where_nothing_is_deleted(rig: RigOf) -> None:
    r = rig(history_start="2020-01-01", delete_after_n_days=20, schedule="0 6 * * *", timezone="America/New_York")
    window = r.window("2024-02-09T11:00", "2024-02-10T11:00")
    assert next(iter(windows(r.spec, window, r.store))).start == at("2024-01-21T11:00")
    for keys in ({"disable_delete": True}, {"delete_after_n_days": 2000}):
        other = rig(history_start="2020-01-01", **keys)
        assert next(iter(windows(other.spec, window, other.store))).start == at("2020-01-01")


# --- deliveries and models --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("days", "kept_from"), [(30, "2024-05-02"), (1, "2024-05-11")])
def test_deliveries_are_kept_until_no_event_needs_them(rig: RigOf, days: int, kept_from: str) -> None:
    r = rig(delete_after_n_days=days, event_expires="7d")
    ledger = DeliveryLedger(EmbeddedDuckDBHook(r.folder / "metrics.duckdb"), "metrics", "b")
    for day in pd.date_range("2024-04-01", "2024-06-01", tz="UTC"):
        ledger.record([Delivery(f"{day:%Y-%m-%d}", "opened", "email", "b", "{}", "sent")], day.to_pydatetime())
    gone = delete.delete_deliveries(r.spec, at("2024-06-01"), ledger)
    left = sorted({d.event_id for d in ledger.openings_since(at("2024-01-01"))})
    assert (left[0], gone + len(left)) == (kept_from, 62)


def test_models_of_other_configs_and_code_go_and_those_in_use_stay(rig: RigOf) -> None:
    r = rig(train_min_n=14)
    r.put("m", noise(60))
    window = r.window("2024-02-20", "2024-02-21")
    train(r.spec, window, r.store, r.models)
    key = model_key(r.spec, at("2024-02-20"))
    assert r.models.find(key) is not None
    r.models.save(ModelKey("b", at("2024-02-20"), "another-r1"), {}, {})
    now = datetime.now(UTC)
    assert delete.delete_models(r.spec, now, r.models) == []
    later = now + timedelta(days=2)
    assert delete.delete_models(r.spec, later, r.models) == ["b/20240220T000000Z-another-r1"]
    assert r.models.load(key) is not None
    sharded = rig(train_min_n=14, shards=2)
    # The number of shards is no part of the config's hash.
    assert delete.delete_models(sharded.spec, later, r.models) == [key.folder]


def test_an_empty_batch(rig: RigOf) -> None:
    r = rig()
    assert delete.delete_rows(r.spec, at("2024-01-31"), r.store) == 0
    assert delete.delete_models(r.spec, at("2024-01-31"), r.models) == []
    assert np.array(r.rows("metric")).size == 0
