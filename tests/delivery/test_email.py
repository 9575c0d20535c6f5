"""Alerts by email, sent to a real SMTP server and read as a mail reader does."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.config.about import About
from anomstack_provider.delivery.channels import DeliveryError
from anomstack_provider.delivery.channels.email import EmailChannel, compose_mail
from anomstack_provider.messages.message import CHART_SLOT, CHART_UNAVAILABLE, Message, compose

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
ANN, BOB = "ann@example.com", "bob@example.com"


@pytest.fixture
def message(make_alert: Callable[..., Alert]) -> Message:
    return compose(make_alert(), timezone="America/New_York", links={"DAG": "https://airflow.example.com/d"})


def send(message: Message, *recipients: str, chart: bytes | None = PNG) -> None:
    EmailChannel(recipients or (ANN,), "smtp_default").send(message, chart, "alert.png")


def refusal(message: Message, *recipients: str) -> DeliveryError:
    with pytest.raises(DeliveryError) as refused:
        send(message, *recipients)
    assert refused.value.channel == "email"
    assert "\n" not in refused.value.reason
    return refused.value


def text_of(part: EmailMessage) -> str:
    return str(part.get_content()).replace("\r\n", "\n")


def part(mail: EmailMessage, kind: str) -> EmailMessage:
    (found,) = [found for found in mail.walk() if found.get_content_type() == kind]
    assert isinstance(found, EmailMessage)
    return found


def test_one_mail_with_text_html_and_the_chart_inside(mail_server: Any, message: Message) -> None:
    send(message, ANN, BOB)
    ((recipients, mail),) = mail_server.received
    assert recipients == [ANN, BOB]
    assert mail["Subject"] == message.first_line
    assert mail["From"] == "anomstack@example.com"
    assert mail["To"] == f"{ANN}, {BOB}"
    assert mail["Date"]
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["X-Anomstack-Event"] == f"{message.event_id}; transition=opened"

    assert mail.get_content_type() == "multipart/alternative"
    assert [p.get_content_type() for p in mail.iter_parts()] == ["text/plain", "multipart/related"]
    assert text_of(part(mail, "text/plain")) == message.text
    image = part(mail, "image/png")
    assert image.get_content() == PNG
    assert image.get_content_disposition() == "inline"
    assert image.get_filename() == "alert.png"
    html = text_of(part(mail, "text/html"))
    content_id = image["Content-ID"].strip("<>")
    assert f'src="cid:{content_id}"' in html
    before, after = message.html.split(CHART_SLOT)
    assert html.startswith(before)
    assert html.rstrip().endswith(after.rstrip())


def test_a_mail_without_chart_says_so(mail_server: Any, message: Message) -> None:
    send(message, chart=None)
    ((_, mail),) = mail_server.received
    assert [p.get_content_type() for p in mail.iter_parts()] == ["text/plain", "text/html"]
    assert CHART_UNAVAILABLE in text_of(part(mail, "text/plain"))
    html = text_of(part(mail, "text/html"))
    assert CHART_UNAVAILABLE in html
    assert "<img" not in html


def test_message_ids_are_stable_and_make_a_thread(mail_server: Any, make_alert: Callable[..., Alert]) -> None:
    for transition in ("opened", "opened", "closed"):
        send(compose(make_alert(transition=transition), timezone="UTC", links={}))
    first, again, closed = (mail for _, mail in mail_server.received)
    assert first["Message-ID"] == again["Message-ID"] != closed["Message-ID"]
    assert first["Message-ID"] == f"<{make_alert().event_id}.opened.email@example.com>"
    assert first["References"] is None
    assert closed["In-Reply-To"] == closed["References"] == first["Message-ID"]


@pytest.mark.parametrize("unit", ["€", "°C", "€/h", "ms"])
def test_a_subject_is_the_first_line_wherever_it_is_broken(make_alert: Callable[..., Alert], unit: str) -> None:
    for length in range(5, 60):
        name = "m" * length
        told = compose(make_alert(metric_name=name), timezone="UTC", links={}, about=About(unit=unit))
        mail = compose_mail(told, None, "c.png", sender="a@example.com", recipients=[ANN])
        for raw in (mail.as_bytes(), mail.as_string().encode()):
            assert message_from_bytes(raw, policy=policy.default)["Subject"] == told.first_line


def test_a_routine_message_replies_to_nothing(mail_server: Any, make_alert: Callable[..., Alert]) -> None:
    send(compose(make_alert(transition="routine", direction="none"), timezone="UTC", links={}))
    ((_, mail),) = mail_server.received
    assert mail["Subject"].startswith("[ROUTINE] ")
    assert mail["In-Reply-To"] is None
    assert "so far" not in text_of(part(mail, "text/plain"))


@pytest.mark.parametrize(
    "name",
    [
        "x\r\nBcc: evil@example.com\r\n\r\nbody",
        "x\nBcc: evil@example.com",
        "x\x0b\x0c\x85\u2028\u2029Bcc: evil@example.com",
        "=?utf-8?q?=0D=0ABcc:_evil@example.com?=",
        "מדד_الطلبات" * 8,
        "🚀" * 60,
        "n" * 400,
        "\ud800",
        "",
    ],
)
def test_no_name_becomes_a_header(mail_server: Any, make_alert: Callable[..., Alert], name: str) -> None:
    message = compose(make_alert(metric_batch=name, metric_name=name), timezone="UTC", links={})
    send(message)
    ((recipients, mail),) = mail_server.received
    assert recipients == [ANN]
    assert mail["Bcc"] is None
    assert not mail.defects
    assert mail["Subject"].splitlines() == [mail["Subject"]]
    assert mail["Subject"] == message.first_line.replace("=?", "= ?")


def test_who_was_refused_is_named_and_the_others_have_their_mail(mail_server: Any, message: Message) -> None:
    mail_server.refused_recipients[BOB] = "550 5.1.1 no such user"
    error = refusal(message, ANN, BOB)
    assert BOB in error.reason
    assert "550 5.1.1 no such user" in error.reason
    assert ANN not in error.reason
    assert error.accepted
    assert [recipients for recipients, _ in mail_server.received] == [[ANN]]


def test_all_refused(mail_server: Any, message: Message) -> None:
    mail_server.refused_recipients = {ANN: "550 no", BOB: "450 later"}
    error = refusal(message, ANN, BOB)
    assert ANN in error.reason
    assert BOB in error.reason
    assert not error.accepted
    assert mail_server.received == []


def test_refused_data(mail_server: Any, message: Message) -> None:
    mail_server.data_answer = "554 5.7.1 message looks like spam"
    error = refusal(message)
    assert "554 5.7.1 message looks like spam" in error.reason
    assert not error.accepted


def test_refused_login_does_not_tell_the_password(
    mail_server: Any, message: Message, connect_smtp: Callable[..., None]
) -> None:
    mail_server.login_answer = "535 5.7.8 not hunter2-secret"
    connect_smtp(mail_server.port, login="ann", password="hunter2-secret")
    error = refusal(message)
    assert "login refused, check connection 'smtp_default'" in error.reason
    assert "535 5.7.8 not ***" in error.reason
    assert "hunter2" not in str(error)


def test_login(mail_server: Any, message: Message, connect_smtp: Callable[..., None]) -> None:
    connect_smtp(mail_server.port, login="ann", password="hunter2-secret")
    send(message)
    assert len(mail_server.received) == 1


def test_a_server_that_is_down(message: Message, connect_smtp: Callable[..., None]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        connect_smtp(probe.getsockname()[1])
        error = refusal(message)
    assert "no mail through connection 'smtp_default': ConnectionRefusedError" in error.reason


def test_a_server_that_says_nothing(message: Message, connect_smtp: Callable[..., None]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connect_smtp(silent.getsockname()[1], extra={"timeout": 1, "retry_limit": 1})
        assert "connection 'smtp_default': AirflowException: Unable to connect" in refusal(message).reason


def test_a_server_without_tls(mail_server: Any, message: Message, connect_smtp: Callable[..., None]) -> None:
    connect_smtp(mail_server.port, extra={"disable_ssl": False})
    assert "SSLError" in refusal(message).reason


def test_a_missing_connection_is_named_with_its_key(message: Message) -> None:
    with pytest.raises(DeliveryError) as refused:
        EmailChannel((ANN,), "smtp_office").send(message, PNG, "alert.png")
    assert "'smtp_office' (key smtp_conn_id)" in refused.value.reason


def test_a_missing_sender_is_named(mail_server: Any, message: Message, connect_smtp: Callable[..., None]) -> None:
    connect_smtp(mail_server.port, extra={"from_email": None})
    assert "connection 'smtp_default' has no from_email" in refusal(message).reason


def test_an_unknown_tls_setting_is_a_refusal(
    mail_server: Any, message: Message, connect_smtp: Callable[..., None]
) -> None:
    connect_smtp(mail_server.port, extra={"disable_ssl": False, "ssl_context": "whatever"})
    assert "ssl_context" in refusal(message).reason
