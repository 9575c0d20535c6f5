"""The language model of a connection, over HTTP: what is sent, and that every answer ends in time with a reason."""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.llm.answer import NamedBucket
from anomstack_provider.llm.question import Question, Reply, Spent
from anomstack_provider.wiring.language_model import LanguageModel, NoAnswer, NoLanguageModel
from tests.llm_fixtures import KEY, ModelServer, Raw, completion, names

DAY = "2024-03-05T00:00:00+00:00"


def spec(**keys: Any) -> BatchSpec:
    return BatchSpec.model_validate({"metric_batch": "b", "ingest_sql": "select 1", "disable_llmalert": False, **keys})


@pytest.fixture
def ask(model_server: ModelServer) -> Callable[..., tuple[Reply, Spent]]:
    """Return a function that asks once, with keys of a batch, and returns the reply and what it cost."""

    def once(seconds: float = 20, chart: bytes | None = None, **keys: Any) -> tuple[Reply, Spent]:
        with LanguageModel(spec(**keys)) as model:
            return model.ask(Question("be sceptical", "points", chart), seconds), model.spent

    return once


@pytest.mark.llm
def test_a_question_and_its_answer(ask, model_server: ModelServer) -> None:
    model_server.answers = [names(DAY, explanation="nine times the usual")]
    picture = b"\x89PNG picture"
    reply, spent = ask(chart=picture, llmalert_answer_max_tokens=321)
    assert reply.answer.anomalies == [NamedBucket(timestamp=DAY, explanation="nine times the usual")]
    assert (reply.model, spent) == ("gpt-fake-1", Spent(1, 1000, 20))
    (asked,) = model_server.asked
    assert asked.authorization == f"Bearer {KEY}"
    assert (asked.instructions, asked.prompt) == ("be sceptical", "points")
    assert asked.picture == "data:image/png;base64," + base64.b64encode(picture).decode()
    assert (asked.body["model"], asked.body["max_completion_tokens"]) == ("gpt-fake", 321)
    schema = asked.body["tools"][0]["function"]["parameters"]
    assert schema["required"] == ["anomalies"]


@pytest.mark.llm
def test_the_model_of_the_batch_goes_before_that_of_the_connection(ask, model_server: ModelServer) -> None:
    ask(llmalert_model="openai-chat:other")
    assert model_server.asked[0].body["model"] == "other"
    assert model_server.asked[0].picture is None


@pytest.mark.llm
def test_one_model_is_asked_again_and_again_and_counts_what_that_costs(model_server: ModelServer) -> None:
    with LanguageModel(spec()) as model:
        for _ in range(3):
            model.ask(Question("i", "p"), 20)
    assert model.spent == Spent(3, 3000, 60)


@pytest.mark.llm
@pytest.mark.parametrize("answer", [Raw(b"{}", seconds=30), Raw(b" " * 1000, drip=0.05)], ids=["silent", "dripping"])
def test_a_server_that_does_not_come_to_an_end_is_left_in_time(ask, model_server: ModelServer, answer: Raw) -> None:
    model_server.answers = [answer] * 9
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"no answer within 0\.5 s"):
        ask(seconds=0.5)
    assert time.monotonic() - began < 10  # most of it is the time in which the libraries are loaded


@pytest.mark.llm
def test_a_busy_server_is_asked_again_within_the_time(ask, model_server: ModelServer) -> None:
    model_server.answers = [Raw(b'{"error": {"message": "slow down"}}', 429, retry_after="0.05"), names(DAY)]
    reply, spent = ask()
    assert len(reply.answer.anomalies) == 1
    assert (len(model_server.asked), spent.requests) == (2, 1)


@pytest.mark.llm
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Raw(b'{"error": {"message": "slow down"}}', 429, retry_after="0.05"), "429"),
        (Raw(b"<html>Bad gateway</html>", 500, retry_after="0.05"), "500"),
        (Raw(f'{{"error": {{"message": "wrong key {KEY}"}}}}'.encode(), 401), r"401.*key \*\*\*"),
        (Raw(b'{"error": {"message": "no images here"}}', 400), "no images here"),
        (completion('{"anomalies": [{"timest'), "output retries.*JSON"),
        (completion('{"anomalies": "none"}'), "output retries.*list"),
        (completion('{"anomalies": [{"timestamp": 5}]}'), "output retries.*string"),
        (completion("{}"), "output retries.*required"),
        (Raw(b"not JSON at all"), "decode response as JSON"),
        (Raw(b"{}"), "Invalid response"),
        (Raw(b""), "decode response as JSON"),
    ],
    ids=["429", "500", "401", "400", "half", "text", "number", "nothing", "no JSON", "no completion", "empty"],
)
def test_what_is_no_answer_fails_with_its_reason_and_without_the_key(
    ask, model_server: ModelServer, answer: Raw, reason: str
) -> None:
    model_server.answers = [answer] * 9
    with pytest.raises(NoAnswer, match=f"(?s){reason}") as failed:
        ask()
    assert KEY not in str(failed.value)
    assert 1 <= len(model_server.asked) <= 3


@pytest.mark.llm
def test_an_answer_of_the_wrong_form_may_be_put_right_once_and_is_paid_for(ask, model_server: ModelServer) -> None:
    model_server.answers = [completion('{"anomalies": "none"}'), names(DAY)]
    reply, spent = ask()
    assert len(reply.answer.anomalies) == 1
    assert spent == Spent(2, 2000, 40)


@pytest.mark.llm
@pytest.mark.parametrize(
    ("connection", "keys", "reason"),
    [
        ({}, {"llmalert_conn_id": "nowhere"}, "llmalert_conn_id 'nowhere': .*nowhere"),
        ({"conn_type": "smtp"}, {}, "llmalert_conn_id 'pydanticai_default': "),
        ({"extra": {}}, {}, "No model specified"),
        ({}, {"llmalert_model": "gpt-5"}, "provider:model"),
        ({}, {"llmalert_model": "openia:gpt-5"}, "not a provider"),
        ({}, {"llmalert_model": "groq:llama"}, "groq"),
    ],
)
def test_a_model_that_cannot_be_asked_is_known_before_anything_is_sent(
    model_server: ModelServer, connection: dict[str, Any], keys: dict[str, Any], reason: str
) -> None:
    model_server.connect(**connection)
    with pytest.raises(NoLanguageModel, match=reason):
        LanguageModel(spec(**keys))
    assert model_server.asked == []


def test_without_the_extra_the_reason_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "airflow.providers.common.ai.hooks.pydantic_ai", None)
    with pytest.raises(NoLanguageModel, match=r"pip install 'anomstack-provider\[llm\]'"):
        LanguageModel(spec())


@pytest.mark.llm
def test_the_form_of_an_answer_is_told_to_the_model(ask, model_server: ModelServer) -> None:
    ask()
    told = json.dumps(model_server.asked[0].body["tools"])
    assert "exactly as it was given" in told
