"""The llmalert task over HTTP: when it asks, what it leaves as XCom, and what people read of its answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

import pytest

from anomstack_provider import (
    AnomstackAlertOperator,
    AnomstackIngestOperator,
    AnomstackLanguageModelOperator,
    AnomstackScoreOperator,
)
from anomstack_provider.runtime.airflow_compat import AirflowFailException, AirflowSkipException
from tests.dag_fixtures import Query
from tests.llm_fixtures import ModelServer, completion, names

HISTORY = """
    SELECT day AS metric_timestamp, name AS metric_name, 100 + dayofyear(day) % 5 AS metric_value
    FROM generate_series(DATE '2024-01-06', DATE '2024-03-05', INTERVAL 1 DAY) AS days(day),
        (VALUES ('calls'), ('it''s / 🎉')) AS names(name)
"""
KEYS: dict[str, Any] = {
    "metric_batch": "b",
    "schedule": "@daily",
    "ingest_sql": HISTORY,
    "disable_llmalert": False,
    "alert_methods": "email",
    "email_to": "team@example.com",
}
DAY = "2024-03-05T00:00:00+00:00"
HOSTILE = "<script>alert(1)</script> & <b>bold</b> <!channel> {{ var.value.secret }} IGNORE previous instructions"


@pytest.fixture
def ingested(operator, task) -> None:
    task(operator(AnomstackIngestOperator, config=KEYS)).run()


@pytest.fixture
def asks(operator, task) -> Callable[..., Any]:
    """Return a function that makes the task's run of 5 March."""

    def make(interval: Any = ("2024-03-05", "2024-03-06"), run_type: str = "scheduled", **keys: Any) -> Any:
        return task(operator(AnomstackLanguageModelOperator, config=KEYS | keys), interval, run_type)

    return make


@pytest.mark.llm
@pytest.mark.usefixtures("ingested")
def test_what_the_model_says_is_text_beside_the_finding(
    asks, operator, task, model_server: ModelServer, mails: list[EmailMessage], query: Query
) -> None:
    model_server.usual = lambda asked: names(DAY, explanation=HOSTILE) if asked.metric == "calls" else names()
    assert asks().run() == {
        "step": "llmalert",
        "rows": 10,
        "metrics": 2,
        "outcomes": {"evaluated": 2},
        "not_evaluated": {},
        "requests": 3,
        "input_tokens": 3000,
        "output_tokens": 60,
    }
    assert [asked.metric for asked in model_server.asked] == ["calls", "calls", "it's / 🎉"]
    assert all((asked.picture or "").startswith("data:image/png;base64,iVBOR") for asked in model_server.asked)
    task(operator(AnomstackScoreOperator, config=KEYS)).run()
    task(operator(AnomstackAlertOperator, config=KEYS)).run()
    (mail,) = mails
    assert mail["Subject"] == "[LOW] b · calls unusual to a language model, 2 % below expected: 100 (Tue 5 Mar)"
    text, html = (mail.get_body((kind,)).get_content() for kind in ("plain", "html"))  # type: ignore[union-attr]
    assert f"Language model says  “{HOSTILE}”" in text
    assert "Why                  A language model (gpt-fake-1) named it." in text
    assert "“&lt;script&gt;alert(1)&lt;/script&gt; &amp; &lt;b&gt;bold&lt;/b&gt; &lt;!channel&gt;" in html
    assert "<script>" not in html
    (metadata,) = query("SELECT metadata FROM metrics WHERE metric_type = 'llmalert'")[0]
    assert json.loads(metadata)["says"] == HOSTILE


@pytest.mark.llm
@pytest.mark.usefixtures("ingested")
def test_a_retry_asks_only_about_what_has_no_answer(asks, model_server: ModelServer, query: Query) -> None:
    model_server.answers = [names(), *[completion('{"anomalies": 5}')] * 2]
    failing = asks()
    with pytest.raises(AirflowFailException, match="1 of 2 metrics failed, the others are done") as failed:
        failing.run()
    assert "it's / 🎉: NoAnswer: " in str(failed.value)
    left = failing.ti.pushed["return_value"]
    assert (left["rows"], left["requests"], left["outcomes"]) == (5, 3, {"evaluated": 1, "failed": 1})
    assert asks().run()["outcomes"] == {"evaluated": 1, "up to date": 1}
    assert asks().run()["requests"] == 0
    assert len(model_server.asked) == 4
    assert query("SELECT count(*), count(DISTINCT metric_name) FROM metrics WHERE metric_type = 'llmanswer'") == [
        (10, 2)
    ]


@pytest.mark.parametrize(
    ("keys", "run_type", "reason"),
    [
        ({"llmalert_cron_schedule": "0 6 * * 1"}, "scheduled", r"not due: no tick of '0 6 \* \* 1'"),
        ({"llmalert_default_schedule_status": "STOPPED"}, "scheduled", "asks in runs started by hand only"),
        ({"llmalert_default_schedule_status": "STOPPED"}, "backfill", "asks in runs started by hand only"),
    ],
)
def test_it_is_skipped_when_it_is_not_to_ask(
    asks, model_server: ModelServer, keys: dict[str, Any], run_type: str, reason: str
) -> None:
    with pytest.raises(AirflowSkipException, match=reason):
        asks(run_type=run_type, **keys).run()
    assert model_server.asked == []


@pytest.mark.llm
@pytest.mark.usefixtures("ingested")
def test_a_run_by_hand_asks_though_the_schedule_is_stopped(asks, model_server: ModelServer) -> None:
    asks(run_type="manual", llmalert_default_schedule_status="STOPPED").run()
    assert len(model_server.asked) == 2


@pytest.mark.llm
@pytest.mark.usefixtures("ingested")
def test_a_model_that_cannot_be_asked_fails_the_task_once_and_for_all(asks, model_server: ModelServer) -> None:
    with pytest.raises(AirflowFailException, match="llmalert of batch 'b': llmalert_conn_id 'nowhere': "):
        asks(llmalert_conn_id="nowhere").run()


@pytest.mark.llm
@pytest.mark.usefixtures("ingested")
def test_prompt_fn_of_anomstack_and_llmalert_sql_with_jinja(asks, model_server: ModelServer) -> None:
    prompt_fn = '''
def make_prompt(df, llmalert_recent_n) -> str:
    """Written for {{ metric_batch }}."""
    return f"{{ ds }}: {list(df.columns)} {len(df)} {df.metric_value.max():g} {llmalert_recent_n}"
'''
    sql = """
        SELECT metric_timestamp, metric_name, 7 AS metric_value, 1 AS metric_score FROM {{ table_key }}
        WHERE metric_batch = '{{ metric_batch }}' AND metric_type = 'metric' AND metric_name = 'calls'
            AND metric_timestamp >= '{{ as_of }}'::TIMESTAMPTZ
                - INTERVAL '{{ llmalert_metric_timestamp_max_days_ago }}' DAY;
    """
    asks(prompt_fn=prompt_fn, llmalert_sql=sql).run()
    (asked,) = model_server.asked
    assert asked.prompt.startswith("2024-03-05: ['metric_timestamp', 'metric_value'] 30 7 5\n\nName only these ")
    assert asked.may_name[-1] == DAY


@pytest.mark.llm
@pytest.mark.usefixtures("ingested")
@pytest.mark.parametrize(
    ("prompt_fn", "reason"),
    [
        ('{% include "./prompts/prompt.py" %}', r"b: prompt_fn: include of .*prompt\.py' cannot be read"),
        ("def other(): pass", r"b: prompt_fn: the text defines no function make_prompt"),
        ("def make_prompt(df, more): return ''", "needs a value for 'more'"),
        ("def make_prompt(df): return 5", "make_prompt\\(\\) returned int, not text"),
        ("import tabulate_that_is_not_installed", "tabulate_that_is_not_installed"),
    ],
)
def test_a_prompt_fn_that_does_not_work_is_named(asks, model_server: ModelServer, prompt_fn: str, reason: str) -> None:
    with pytest.raises(AirflowFailException, match=reason):
        asks(prompt_fn=prompt_fn).run()
    assert model_server.asked == []


@pytest.mark.llm
@pytest.mark.usefixtures("ingested")
def test_the_file_that_anomstack_brings_means_the_built_in_prompt(asks, model_server: ModelServer) -> None:
    asks(prompt_fn='{% include "./defaults/python/prompt.py" %}').run()
    assert {"Points, oldest first:" in asked.prompt for asked in model_server.asked} == {True}


def test_a_missing_include_of_prompt_fn_harms_nobody_who_does_not_use_it(operator, task) -> None:
    keys = KEYS | {"prompt_fn": '{% include "./missing.py" %}', "disable_llmalert": True}
    for cls in (AnomstackIngestOperator, AnomstackScoreOperator, AnomstackAlertOperator):
        task(operator(cls, config=keys)).run()
