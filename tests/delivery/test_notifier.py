"""Any notifier class of Airflow as a channel: real ones against real servers, and some that misbehave."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from airflow.sdk import BaseNotifier

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.config.spec import check
from anomstack_provider.delivery.channels import DeliveryError
from anomstack_provider.delivery.channels.notifier import NotifierChannel
from anomstack_provider.messages.message import Message, compose

WEBHOOK = "airflow.providers.slack.notifications.slack_webhook.SlackWebhookNotifier"
SLACK = "airflow.providers.slack.notifications.slack.SlackNotifier"
SMTP = "airflow.providers.smtp.notifications.smtp.SmtpNotifier"
HERE = f"{__name__}.Recorder"


class Recorder(BaseNotifier):
    """Keeps what it is made of; raises what it is told to."""

    template_fields = ("text",)
    made: list[dict[str, Any]] = []  # noqa: RUF012
    error: Exception | None = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()
        self.kwargs = kwargs
        self.text = kwargs.get("text")

    def notify(self, context: Any) -> None:
        if Recorder.error is not None:
            raise Recorder.error
        Recorder.made.append({**self.kwargs, "text": self.text, "context": context})


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recorder, "made", [])
    monkeypatch.setattr(Recorder, "error", None)


@pytest.fixture
def alert(make_alert: Callable[..., Alert]) -> Alert:
    return make_alert()


def message_of(alert: Alert) -> Message:
    return compose(alert, timezone="UTC", links={})


def send(alert: Alert, dotted_path: str, *more: Alert, **args: Any) -> None:
    channel = NotifierChannel("pager", dotted_path, args, {"Run": "https://airflow/run"}, {"run_id": "r1"})
    channel.send(message_of(alert), b"png", "alert.png", alerts=[alert, *more])


def refusal(alert: Alert, dotted_path: str, **args: Any) -> str:
    with pytest.raises(DeliveryError) as refused:
        send(alert, dotted_path, **args)
    assert refused.value.channel == "pager"
    assert "secret" not in str(refused.value)
    return refused.value.reason


def test_slacks_webhook_notifier(slack_server: Any, alert: Alert) -> None:
    send(alert, WEBHOOK, slack_webhook_conn_id="hook", text="{{ event.severity }}: {{ event.first_line }}")
    ((method, body),) = slack_server.calls
    assert method == "webhook"
    assert body["text"] == f"high: {message_of(alert).first_line}"


def test_slacks_notifier(slack_server: Any, alert: Alert) -> None:
    send(alert, SLACK, slack_conn_id="slack_api_default", channel="#ops", text="{{ text }}", blocks=[])
    ((method, body),) = slack_server.calls
    assert method == "chat.postMessage"
    assert (body["channel"], body["text"]) == ("#ops", message_of(alert).text)


def test_the_mail_notifier(mail_server: Any, alert: Alert) -> None:
    send(
        alert,
        SMTP,
        smtp_conn_id="smtp_default",
        to="ann@example.com",
        subject="{{ event.metric_name }} of {{ event.metric_batch }}",
        html_content="<p>{{ first_line | e }}</p><a href='{{ links.Run }}'>run</a>{{ links.Query }}",
    )
    ((recipients, mail),) = mail_server.received
    assert recipients == ["ann@example.com"]
    assert mail["Subject"] == "cancelled_share_LGA of flights"
    (html,) = mail.iter_parts()
    assert "<a href='https://airflow/run'>run</a>" in html.get_content()
    assert html.get_content().rstrip().endswith("</a>"), "a link that there is none of is empty"


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (404, b"no_service", "no_service"),
        (500, b"", "500"),
        (429, b"", "429"),
        (403, b"token_revoked", "token_revoked"),
    ],
)
def test_what_a_notifier_raises_is_a_refusal_without_its_address(
    slack_server: Any, answer: Any, alert: Alert, status: int, body: bytes, said: str
) -> None:
    slack_server.answers["webhook"] = [answer(body, status)]
    args = {"slack_webhook_conn_id": "hook", "text": "x", "retry_handlers": []}
    reason = refusal(alert, WEBHOOK, **args)
    assert reason.startswith("SlackWebhookNotifier: ")
    assert said in reason


def test_arguments_are_rendered_once_and_at_every_depth(make_alert: Callable[..., Alert]) -> None:
    hostile = make_alert(metric_name="{{ 7 * 7 }} {% raw %}", tags=(("team", "{{ ds }}"),))
    send(
        hostile,
        HERE,
        make_alert(),
        text="{{ event.metric_name }}",
        routing={"team": ["{{ event.tags.team }}", 3, None, True]},
        details="{{ events | tojson }}",
        number=5,
    )
    (made,) = Recorder.made
    assert made["text"] == "{{ 7 * 7 }} {% raw %}"
    assert made["routing"] == {"team": ["{{ ds }}", 3, None, True]}
    assert [event["metric_name"] for event in json.loads(made["details"])] == [
        "{{ 7 * 7 }} {% raw %}",
        "cancelled_share_LGA",
    ]
    assert (made["number"], made["context"]) == (5, {"run_id": "r1"})


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ event.metric_nam }}", "has no attribute 'metric_nam'"),
        ("{{ nothing }}", "'nothing' is undefined"),
        ("{{ event", "TemplateSyntaxError"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
        ("{{ event.clear() }}", "SecurityError"),
    ],
)
def test_a_template_that_cannot_be_rendered_is_a_refusal(alert: Alert, template: str, said: str) -> None:
    assert said in refusal(alert, HERE, text=template)
    assert Recorder.made == []


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("no_such_package.Notifier", "No module named 'no_such_package'"),
        ("airflow.sdk.NoSuchNotifier", "NoSuchNotifier"),
        ("subprocess.Popen", "is no subclass of Airflow's BaseNotifier"),
        ("os.getcwd", "is no subclass of Airflow's BaseNotifier"),
    ],
)
def test_what_is_no_notifier_is_a_refusal(alert: Alert, path: str, said: str) -> None:
    assert said in refusal(alert, path)


def test_wrong_arguments_are_a_refusal(alert: Alert) -> None:
    assert "missing 1 required keyword-only argument: 'text'" in refusal(alert, WEBHOOK)


def test_no_secret_is_repeated(alert: Alert, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"api_token": "secret-extra"}
    connection = {"conn_type": "http", "password": "secret-password", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_PAGER", json.dumps(connection))
    said = "secret-password secret-extra secret-literal https://hooks.example.com/secret/1?t=secret2 is gone"
    monkeypatch.setattr(Recorder, "error", ValueError(said))
    reason = refusal(alert, HERE, pager_conn_id="pager", headers={"auth": "secret-literal"})
    assert reason == "Recorder: ValueError: *** *** *** https://hooks.example.com/*** is gone"


def test_the_connections_that_it_needs() -> None:
    args = {"slack_conn_id": "a", "conn_id": "{{ event.tags.conn }}", "text": "b", "http_conn_id": None}
    assert NotifierChannel("pager", HERE, args).connections() == {"notifiers: pager: slack_conn_id": "a"}


def test_the_notifier_of_ones_own_in_the_docs(
    slack_server: Any, answer: Any, alert: Alert, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = Path(__file__).parents[2] / "docs" / "delivery.md"
    (code,) = re.findall(r"```python\n(.*?)```", docs.read_text(encoding="utf-8"), re.DOTALL)
    module = ModuleType("teams")
    exec(code, module.__dict__)
    monkeypatch.setitem(sys.modules, "teams", module)
    connection = {"conn_type": "http", "host": f"{slack_server.url}services/very-secret"}
    monkeypatch.setenv("AIRFLOW_CONN_TEAMS", json.dumps(connection))
    slack_server.answers["webhook"] = [answer(b"ok"), answer(b"gone", 404)]
    send(alert, "teams.TeamsNotifier", text="{{ first_line }}")
    ((_, body),) = slack_server.calls
    assert body["attachments"][0]["content"]["body"][0]["text"] == message_of(alert).first_line
    assert "404" in refusal(alert, "teams.TeamsNotifier", text="{{ first_line }}")


def test_the_yaml_in_the_docs_is_right(alert: Alert) -> None:
    docs = Path(__file__).parents[2] / "docs" / "delivery.md"
    blocks = re.findall(r"```yaml\n(.*?)```", docs.read_text(encoding="utf-8"), re.DOTALL)
    keys = [yaml.safe_load(block) for block in blocks]
    assert len(keys) == 3
    pager, others, routes = keys
    given = {"metric_batch": "b", "ingest_sql": "select 1", "notifiers": [*pager["notifiers"], *others["notifiers"]]}
    spec, problems = check({**given, "alert_methods": pager["alert_methods"], **routes})
    assert problems == []
    assert spec is not None
    for notifier in spec.notifiers:  # every template is one that can be rendered
        Recorder.made.clear()
        send(alert, HERE, **notifier.args)
        assert len(Recorder.made) == 1
    send(alert, HERE, **spec.notifiers[0].args)
    assert {key: Recorder.made[-1][key] for key in ("severity", "dedup_key", "action")} == {
        "severity": "critical",
        "dedup_key": alert.event_id,
        "action": "trigger",
    }
