"""Feedback through Airflow's own API server: who may, what is stored, and what is answered to nonsense."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from anomstack_provider.detection.feedback import WORD_OF
from tests.ui.conftest import ODD_NAME, Server

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


@pytest.fixture
def shop(server: Server) -> Server:
    """The server with nothing said yet."""
    rows = server.store.read(list(WORD_OF), since=None, until=datetime(2100, 1, 1, tzinfo=UTC))
    server.store.replace(rows.iloc[:0], clear=rows)
    return server


def test_the_plugin_is_loaded_and_breaks_nothing(shop: Server) -> None:
    answer = shop.call("GET", "/api/v2/plugins")
    (plugin,) = [p for p in answer.body["plugins"] if p["name"] == "anomstack"]
    (app,) = plugin["fastapi_apps"]
    assert (app["url_prefix"], app["name"]) == ("/anomstack", "Anomstack")
    errors = shop.call("GET", "/api/v2/plugins/importErrors")
    assert (errors.status, errors.body["import_errors"]) == (200, [])


def test_a_verdict_is_stored_with_its_giver_and_listed(shop: Server) -> None:
    before = datetime.now(UTC)
    answer = shop.judge(note="ß 🎉", verdict="real")
    assert answer.status == 201, answer
    assert answer.body["buckets"] == ["2024-02-19T23:00:00Z"]  # a day of Berlin
    assert before - timedelta(seconds=5) < datetime.fromisoformat(answer.body["given_at"]) < datetime.now(UTC)
    listed = shop.listed()
    assert listed.status == 200
    (verdict,) = listed.body["feedback"]
    assert verdict == {
        "metric_name": "orders",
        "bucket": "2024-02-19T23:00:00+00:00",
        "verdict": "real",
        "given_at": datetime.fromisoformat(answer.body["given_at"]).isoformat(),
        "until": None,
        "first_bucket": None,
        "by": "ute",
        "note": "ß 🎉",
        "event_id": None,
    }
    assert listed.body["precision"] == {"orders": {"real": 1, "false_alarms": 0, "share": 1.0}}


def test_a_changed_mind_takes_the_place(shop: Server) -> None:
    assert [shop.judge(verdict=word).status for word in ("real", "false_alarm", "expected")] == [201, 201, 201]
    assert [v["verdict"] for v in shop.listed().body["feedback"]] == ["expected"]


def test_a_snooze_ends_by_the_batchs_clock(shop: Server) -> None:
    assert shop.judge(verdict="snooze", until="2100-07-01T12:00").status == 201
    assert shop.listed().body["feedback"][0]["until"] == "2100-07-01T10:00:00+00:00"


def test_nobody_gets_in_without_a_token(shop: Server) -> None:
    assert (shop.judge(user=None).status, shop.listed(user=None).status) == (401, 401)
    shop.tokens["forged"] = shop.tokens["ann"][:-4] + "AAAA"
    assert {shop.judge(user="forged").status, shop.listed(user="forged").status} <= {401, 403}
    assert shop.judge(user=None, dag_id="no_such_dag").status == 401
    assert shop.listed().body["feedback"] == []


def test_only_the_schema_is_public(shop: Server) -> None:
    answer = shop.call("GET", "/anomstack/openapi.json", user=None)
    assert list(answer.body["paths"]) == ["/feedback/{dag_id}"]
    assert {shop.call("GET", f"/anomstack/{page}", user=None).status for page in ("docs", "redoc", "", "x")} == {404}


def test_who_may_not_edit_the_dag_may_read_only(shop: Server) -> None:
    assert shop.judge(user="vera").status == 403
    assert shop.listed(user="vera").body["feedback"] == []
    assert [shop.judge(user=user).status for user in ("ute", "otto", "ann")] == [201, 201, 201]


@pytest.mark.parametrize(
    ("more", "status", "says"),
    [
        ({"dag_id": "no_such_dag"}, 404, "there is no DAG 'no_such_dag'"),
        ({"dag_id": "../../api/v2/dags"}, 404, ""),
        ({"dag_id": "'; DROP TABLE dag; --"}, 404, "there is no DAG"),
        ({"dag_id": "anomstack_health_of_config"}, 409, "names no metric batch"),
        ({"dag_id": "says_nothing"}, 409, "in its default_args"),
        ({"dag_id": "anomstack_lost"}, 503, "nowhere"),
        ({"metric_name": "ordres"}, 404, "no metric 'ordres'; near it: 'orders'"),
        ({"metric_name": "'; DROP TABLE metrics; --"}, 404, "no metric"),
        ({"metric_name": "\0"}, 404, "no metric"),
        ({"metric_name": ""}, 404, "no metric"),
        ({"metric_name": "x" * 1001}, 422, "at most 1000"),
        ({"bucket": "2024-02-20T12:00"}, 404, "the nearest ones are 2024-02-19T00:00:00+01:00"),
        ({"bucket": "someday"}, 422, "datetime"),
        ({"bucket": "9999-12-31T23:59:59-12:00"}, 422, "outside the calendar"),
        ({"bucket": "9999-12-31"}, 404, "no bucket"),
        ({"bucket": "0001-01-01"}, 422, "outside the calendar"),
        ({"event_id": "x"}, 404, "no event 'x'"),
        ({"verdict": "nice"}, 422, "false_alarm"),
        ({"verdict": "snooze"}, 422, "needs an end"),
        ({"verdict": "snooze", "until": "2020-01-01"}, 422, "which is over"),
        ({"until": "2100-01-01"}, 422, "only a snooze"),
        ({"note": "x" * 2001}, 422, "at most 2000"),
        ({"by": "someone else"}, 422, "not permitted"),
    ],
    ids=str,
)
def test_nonsense_is_answered_with_what_is_wrong(shop: Server, more: dict[str, Any], status: int, says: str) -> None:
    answer = shop.judge(**more)
    assert answer.status == status, answer
    said = answer.body["detail"] if isinstance(answer.body, dict) else answer.body
    assert says in (said if isinstance(said, str) else str(said))
    assert shop.listed().body["feedback"] == []


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"",
        b"[]",
        b"null",
        b'{"metric_name": "\\ud800", "bucket": "2024-02-20", "verdict": "real"}',
        b'{"metric_name": "orders", "bucket": "2024-02-20", "verdict": "\\ud800"}',
        b'{"metric_name": "orders", "bucket": "2024-02-20", "verdict": "real", "note": 3}',
        b'{"metric_name": "orders", "bucket": "2024-02-20", "verdict": "real", "\\ud800": 3}',
        b"\xff\xfe",
        b'{"metric_name": "orders", "bucket": 1e400, "verdict": "real"}',
    ],
)
def test_a_body_that_is_none_is_refused(shop: Server, body: bytes) -> None:
    answer = shop.call("POST", "/anomstack/feedback/anomstack_shop", "ute", body)
    assert answer.status in (400, 404, 422), answer
    assert shop.listed().body["feedback"] == []


def test_odd_names_and_notes_are_kept(shop: Server) -> None:
    note = "<script>alert(1)</script> \0 ' \" \ud800"
    answer = shop.judge(metric_name=ODD_NAME, note=note)
    assert answer.status in (201, 422), answer
    if answer.status == 422:  # half a surrogate is no text
        assert shop.judge(metric_name=ODD_NAME, note=note[:-1]).status == 201
    (verdict,) = shop.listed().body["feedback"]
    assert verdict["metric_name"] == ODD_NAME
    assert verdict["note"].startswith("<script>alert(1)</script> \0 ' \" ")


def test_a_hand_written_dag_names_its_batch_in_its_default_args(shop: Server) -> None:
    assert shop.judge(dag_id="says_it").status == 201
    assert [v["verdict"] for v in shop.listed().body["feedback"]] == ["real"]


def test_a_connection_of_airflows_database_is_found(shop: Server) -> None:
    answer = shop.judge(dag_id="anomstack_kept", bucket="2024-02-19T23:00")
    assert answer.status == 201, answer
    assert len(shop.listed(dag_id="anomstack_kept").body["feedback"]) == 1
    assert shop.listed().body["feedback"] == []


def test_a_server_without_the_folder_says_so(shop: Server) -> None:
    metrics = shop.home / "dags" / "metrics"
    metrics.rename(metrics.with_name("elsewhere"))
    try:
        answer = shop.judge()
        assert answer.status == 503
        assert f"the metrics folder {metrics} does not exist" in answer.body["detail"]
    finally:
        metrics.with_name("elsewhere").rename(metrics)
    assert shop.judge().status == 201


def test_a_server_whose_copy_of_the_batch_is_broken_says_so(shop: Server) -> None:
    path = shop.home / "dags" / "metrics" / "shop.yaml"
    text = path.read_text("utf-8")
    path.write_text(text + "alert_treshold: 1\n", "utf-8")
    try:
        answer = shop.judge()
        assert answer.status == 503
        assert "alert_treshold" in answer.body["detail"]
    finally:
        path.write_text(text, "utf-8")
