"""Alerts by email: one message to all recipients, as text and HTML with the chart inside it."""

from __future__ import annotations

import re
import smtplib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import formatdate, parseaddr
from html import escape
from typing import TYPE_CHECKING, Any, ClassVar

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.delivery.channels.base import DeliveryError, Unconfigured, plain_reason
from anomstack_provider.messages.message import CHART_SLOT, CHART_UNAVAILABLE, Message

if TYPE_CHECKING:
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    from anomstack_provider.config.spec import BatchSpec


@dataclass(frozen=True)
class EmailChannel:
    """
    Mail through an Airflow connection of the smtp provider; its extra names the sender, ``from_email``.

    :param recipients: addresses; all of them get the same one message.
    """

    recipients: tuple[str, ...]
    conn_id: str
    name: ClassVar[str] = "email"

    @classmethod
    def from_spec(cls, spec: BatchSpec) -> EmailChannel | Unconfigured:
        """Return the channel of a batch; unconfigured while ``email_to`` is empty."""
        return cls(tuple(spec.email_to), spec.smtp_conn_id) if spec.email_to else Unconfigured(cls.name, "email_to")

    def connections(self) -> dict[str, str]:
        """Return the connection by its key."""
        return {"smtp_conn_id": self.conn_id}

    def send(self, message: Message, chart: bytes | None, filename: str, *, alerts: Sequence[Alert] = ()) -> None:
        """
        Send the message; see :class:`~anomstack_provider.delivery.channels.base.Channel`.

        A refused recipient is an error, marked ``accepted`` because the others have their mail by then.
        """
        from airflow.providers.common.compat.sdk import AirflowException
        from airflow.providers.smtp.hooks.smtp import SmtpHook

        hook = SmtpHook(self.conn_id)
        try:
            client = _connect(hook)
            sender = self._sender(hook)
            mail = compose_mail(message, chart, filename, sender=sender, recipients=self.recipients)
            refused = client.send_message(mail, from_addr=parseaddr(sender)[1], to_addrs=list(self.recipients))
        except (AirflowException, OSError, ValueError, RuntimeError) as error:
            # OSError: whatever network, TLS and smtplib raise. RuntimeError: the hook's on its extras.
            raise self._error(hook, self._what_failed(hook, error)) from error
        finally:
            # Not the hook's own `with`: that does not close a connection whose login failed.
            if hook._smtp_client is not None:
                hook._smtp_client.close()
        if refused:
            raise self._error(hook, f"the mail went out, but not to {_refusals(refused)}", accepted=True)

    def _sender(self, hook: SmtpHook) -> str:
        if not hook.from_email:
            raise ValueError(f"connection '{self.conn_id}' has no from_email in its extra; add the sender's address")
        return str(hook.from_email)

    def _what_failed(self, hook: SmtpHook, error: Exception) -> str:
        """Say what was refused and where to look."""
        if hook.smtp_connection is None:
            return f"no Airflow connection '{self.conn_id}' (key smtp_conn_id); create it or name another"
        if isinstance(error, smtplib.SMTPRecipientsRefused):
            return f"the server refused {_refusals(error.recipients)}"
        if isinstance(error, smtplib.SMTPAuthenticationError):
            answer = _answer(error.smtp_code, error.smtp_error)
            return f"login refused, check connection '{self.conn_id}': {answer}"
        if isinstance(error, smtplib.SMTPResponseException):
            return f"the server refused the mail: {_answer(error.smtp_code, error.smtp_error)}"
        if isinstance(error, ValueError):
            return str(error)
        return f"no mail through connection '{self.conn_id}': {type(error).__name__}: {error}"

    def _error(self, hook: SmtpHook, reason: str, *, accepted: bool = False) -> DeliveryError:
        connection = hook.smtp_connection
        secrets = (connection.password, connection.extra_dejson.get("client_secret")) if connection else ()
        reason = plain_reason(reason, (*secrets, hook._access_token))
        return DeliveryError(self.name, reason, accepted=accepted)


class _Folding(EmailPolicy):
    """How headers are broken into lines: as ever, but a break takes the place of the space that it follows."""

    def fold(self, name: str, value: Any) -> str:
        """Return a header for a text; before a word in another script Python keeps that space, which is shown twice."""
        return re.sub(r" (\r?\n =\?)", r"\1", super().fold(name, value))

    def fold_binary(self, name: str, value: Any) -> bytes:
        """Return a header for the wire."""
        return re.sub(rb" (\r?\n =\?)", rb"\1", super().fold_binary(name, value))


def compose_mail(
    message: Message, chart: bytes | None, filename: str, *, sender: str, recipients: Sequence[str]
) -> EmailMessage:
    """
    Return the mail: plain text, or HTML with the chart inside it for readers that can.

    Its Message-ID follows from event, transition and sender alone. A mail sent twice is shown once by most
    readers, and what becomes of an event later is shown as a reply to its opening.
    """
    domain = parseaddr(sender)[1].rpartition("@")[2] or "localhost"
    mail = EmailMessage(_Folding())
    # A name that looks like an encoded word would be decoded here, and could hold line ends and further headers.
    mail["Subject"] = message.first_line.replace("=?", "= ?")
    mail["From"] = sender
    mail["To"] = ", ".join(recipients)
    mail["Date"] = formatdate(localtime=False)
    mail["Message-ID"] = _message_id(message, message.transition, domain)
    if message.transition not in ("opened", "routine"):
        mail["In-Reply-To"] = mail["References"] = _message_id(message, "opened", domain)
    # Keeps out-of-office robots from answering.
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Anomstack-Event"] = f"{_token(message.event_id)}; transition={_token(message.transition)}"
    if not message.charted:
        mail.set_content(message.text)
        mail.add_alternative(message.html.replace(CHART_SLOT, ""), subtype="html")
        return mail
    mail.set_content(message.text if chart else f"{message.text}\n{CHART_UNAVAILABLE}\n")
    if not chart:
        note = f'<p style="margin:0;font-size:14px;color:#5b6472;">{escape(CHART_UNAVAILABLE)}</p>'
        mail.add_alternative(message.html.replace(CHART_SLOT, note), subtype="html")
        return mail
    picture = f"chart.{_token(message.event_id)}.{_token(message.transition)}@{domain}"
    image = (
        f'<img src="cid:{escape(picture)}" alt="{escape(f"Chart: {message.first_line}")}" width="672"'
        ' style="display:block;width:100%;max-width:672px;height:auto;border:0;">'
    )
    mail.add_alternative(message.html.replace(CHART_SLOT, image), subtype="html")
    html = mail.get_body(("html",))
    assert isinstance(html, EmailMessage)  # just added
    html.add_related(chart, "image", "png", cid=f"<{picture}>", filename=filename, disposition="inline")
    return mail


def _message_id(message: Message, transition: str, domain: str) -> str:
    return f"<{_token(message.event_id)}.{_token(transition)}.email@{domain}>"


def _token(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", text)


def _connect(hook: SmtpHook) -> smtplib.SMTP:
    """
    Return the hook's logged-in client.

    The hook's own ``send_email_smtp`` takes no message of ours, does not tell which recipients were refused,
    and sends again after any error; its client has no public name in any release so far.
    """
    client = hook.get_conn()._smtp_client
    assert isinstance(client, smtplib.SMTP)  # get_conn raises where it has none; the other kind is asynchronous
    return client


def _answer(code: int, text: bytes | str) -> str:
    return f"{code} {text.decode(errors='replace') if isinstance(text, bytes) else text}"


def _refusals(refused: Mapping[str, tuple[int, bytes]]) -> str:
    return ", ".join(f"{address} ({_answer(*answer)})" for address, answer in refused.items())
