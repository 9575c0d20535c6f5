"""Which asset events the ingest and alert tasks emit: when, how often, and what they carry."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DownstreamTasksSkipped
from airflow.sdk import Asset
from hypothesis import given
from hypothesis import strategies as st

from anomstack_provider import (
    AnomstackAlertOperator,
    AnomstackIngestOperator,
    AnomstackPublishOperator,
    AnomstackScoreOperator,
)
from anomstack_provider.alerting.alert import Alert
from anomstack_provider.assets import anomaly_alias, anomaly_closed, anomaly_opened, metrics_alias, metrics_updated
from anomstack_provider.operators.outlets import transitions_of
from tests.operators.conftest import Emitted, Recorded, Task
from tests.operators.test_steps_operators import KEYS

OPENED, CLOSED, UPDATED = (made("b").uri for made in (anomaly_opened, anomaly_closed, metrics_updated))
# The event of 5 March ends with the next day.
LONGER = KEYS["ingest_sql"].replace("2024-03-05', INTERVAL", "2024-03-06', INTERVAL")
NEXT = {**KEYS, "merge_max_gap": 0, "disable_change": True, "ingest_sql": LONGER}
FIFTH, SIXTH = ("2024-03-05", "2024-03-06"), ("2024-03-06", "2024-03-07")


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


@pytest.fixture
def ran(operator: Callable[..., Any], recorded: Recorded) -> Callable[..., list[Emitted]]:
    """Run a task, behind alert the publish task whatever its state, and return the asset events that it emitted."""

    def run(cls: Any, config: dict[str, Any], interval: Any = FIFTH, run_type: str = "scheduled") -> list[Emitted]:
        task = Task(operator(cls, config=config), interval, run_type, recorded=recorded)
        try:
            task.run()
        finally:
            if cls is AnomstackAlertOperator:
                publish = operator(AnomstackPublishOperator, config=config, alert_task_id="alert")
                left, task = task.ti.pushed, Task(publish, interval, run_type, recorded=recorded)
                task.ti.left_by["alert"] = left
                task.run()
        emitted = Recorded()
        emitted.add(task.context["outlet_events"])
        return [event for own in emitted.values() for event in own]

    return run


@pytest.fixture
def history(ran: Any, recorded: Recorded) -> None:
    """Ingested and scored up to 6 March."""
    ran(AnomstackIngestOperator, NEXT, SIXTH)
    ran(AnomstackScoreOperator, NEXT, FIFTH)
    ran(AnomstackScoreOperator, NEXT, SIXTH)
    recorded.clear()


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["orders", "it's / 🎉", "a:b@c", "..", "[x]", "%41", "x" * 3000, "🎉" * 500, "A", "a"])
def test_names_are_plain_valid_and_stay_as_they_are(name: str) -> None:
    uris = []
    for made in (metrics_updated, anomaly_opened, anomaly_closed):
        asset = made(name)
        assert asset == made(name)
        assert asset.name == asset.uri
        assert asset.uri.isascii()
        assert Asset(uri=asset.uri).uri == asset.uri, "Airflow has nothing to normalise in it"
        uris.append(asset.uri)
    assert len({*uris, metrics_alias(name).name, anomaly_alias(name).name}) == 5


def test_an_ordinary_name_is_readable() -> None:
    assert anomaly_opened("daily orders").uri == "anomstack://daily%20orders/anomaly/opened"


@given(st.sets(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=400), min_size=2, max_size=4))
def test_no_two_batches_have_the_same_asset(names: set[str]) -> None:
    assert len({anomaly_opened(name).uri for name in names}) == len(names)


# --- metrics updated -------------------------------------------------------------------------------------------------


def test_an_update_is_told_with_its_window_and_rows(ran: Any) -> None:
    assert ran(AnomstackIngestOperator, KEYS) == [
        Emitted(
            UPDATED,
            {
                "metric_batch": "b",
                "window_start": "2024-03-05T00:00:00+00:00",
                "window_end": "2024-03-06T00:00:00+00:00",
                "rows": 180,
            },
        )
    ]


def test_without_rows_there_is_no_update(ran: Any) -> None:
    empty = {**KEYS, "ingest_sql": f"SELECT * FROM ({KEYS['ingest_sql']}) WHERE false"}
    assert ran(AnomstackIngestOperator, empty) == []


# --- anomaly opened and closed ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("history", "mails")
def test_an_event_is_told_once_when_it_opens_and_once_when_it_closes(ran: Any) -> None:
    (opened,) = ran(AnomstackAlertOperator, NEXT, FIFTH)
    assert (opened.uri, opened.extra["metric_batch"]) == (OPENED, "b")
    (told,) = opened.extra["alerts"]
    assert (told["metric_name"], told["transition"]) == ("calls", "opened")
    assert json.loads(json.dumps(opened.extra)) == opened.extra
    alert = Alert.from_json(json.dumps(told))
    assert (alert.metric_batch, alert.value, alert.direction) == ("b", 900, "up")
    assert ran(AnomstackAlertOperator, NEXT, FIFTH) == [], "the same run, cleared"
    (closed,) = ran(AnomstackAlertOperator, NEXT, SIXTH)
    assert (closed.uri, [one["event_id"] for one in closed.extra["alerts"]]) == (CLOSED, [told["event_id"]])
    assert ran(AnomstackAlertOperator, NEXT, SIXTH) == []
    assert ran(AnomstackAlertOperator, NEXT, FIFTH) == [], "in any order"


@pytest.mark.usefixtures("mails")
def test_all_that_one_run_finds_is_one_update(ran: Any) -> None:
    both = {**NEXT, "ingest_sql": LONGER.replace("name = 'calls' AND ", "")}
    assert both["ingest_sql"] != LONGER
    ran(AnomstackIngestOperator, both, SIXTH)
    ran(AnomstackScoreOperator, both, FIFTH)
    (opened,) = ran(AnomstackAlertOperator, both, FIFTH)
    assert sorted(told["metric_name"] for told in opened.extra["alerts"]) == ["calls", "it's / 🎉", "orders"]


def test_of_a_storm_the_worst_are_told_whole_and_all_of_them_by_their_ids(make_alert: Callable[..., Alert]) -> None:
    alerts = [
        make_alert(event_id=str(n), metric_name=f"m{n}", severity="high" if n >= 100 else "low") for n in range(150)
    ]
    told = transitions_of(alerts)
    assert [one["event_id"] for one in told] == [str(n) for n in (*range(100, 150), *range(100))]
    assert all("value" in one for one in told[:100])
    assert [set(one) for one in told[100:]] == [{"event_id", "transition", "metric_name", "severity", "bucket"}] * 50


@pytest.mark.usefixtures("history", "mails")
def test_where_nothing_is_to_be_told_the_task_is_not_even_started(operator: Any) -> None:
    for config, idle in ((NEXT, None), ({**NEXT, "alert_exclude_metrics": ["calls", "orders"]}, ["publish"])):
        alert = operator(AnomstackAlertOperator, config=config)
        with alert.dag:
            alert >> AnomstackPublishOperator(task_id="publish", config=config)
        task = Task(alert, FIFTH)
        if idle is None:
            assert task.run()["step"] == "alert"
            continue
        with pytest.raises(DownstreamTasksSkipped) as skipped:
            task.run()
        assert skipped.value.tasks == idle
        assert task.ti.pushed["return_value"]["step"] == "alert"


@pytest.mark.usefixtures("history", "mails")
def test_the_end_is_told_to_airflow_even_where_people_do_not_want_it(ran: Any) -> None:
    quiet = {**NEXT, "notify_closed": False}
    ran(AnomstackAlertOperator, quiet, FIFTH)
    assert [event.uri for event in ran(AnomstackAlertOperator, quiet, SIXTH)] == [CLOSED]


@pytest.mark.usefixtures("history", "mails")
@pytest.mark.parametrize(("notify", "emitted"), [(False, []), (True, [OPENED])])
def test_backfilled_history_is_told_only_if_the_batch_says_so(ran: Any, notify: bool, emitted: list[str]) -> None:
    keys = {**NEXT, "notify_on_backfill": notify}
    assert [event.uri for event in ran(AnomstackAlertOperator, keys, FIFTH, "backfill")] == emitted


@pytest.mark.usefixtures("history", "mails")
def test_a_run_whose_delivery_fails_tells_it_all_the_same(
    ran: Any, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    working = os.environ["AIRFLOW_CONN_SMTP_DEFAULT"]
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps({**json.loads(working), "port": 1}))
    with pytest.raises(Exception, match="email: no mail"):
        ran(AnomstackAlertOperator, NEXT, FIFTH)
    assert [event.uri for event in recorded[anomaly_alias("b").name]] == [OPENED]
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", working)
    assert ran(AnomstackAlertOperator, NEXT, FIFTH) == [], "the retry"


@pytest.mark.usefixtures("mails")
def test_a_run_without_an_event_tells_nothing(ran: Any) -> None:
    assert ran(AnomstackAlertOperator, KEYS) == []
