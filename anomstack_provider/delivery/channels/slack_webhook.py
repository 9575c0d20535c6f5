"""Alerts by an incoming webhook of Slack, or of a chat that speaks the same: a message of blocks, without a chart."""

from __future__ import annotations

import http.client
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.delivery.channels.base import LONGEST_WAIT, DeliveryError, Unconfigured, plain_reason
from anomstack_provider.messages.message import Message, slack_escape

if TYPE_CHECKING:
    from slack_sdk.webhook import WebhookClient, WebhookResponse

    from anomstack_provider.config.spec import BatchSpec

_WHAT_TO_DO = {
    "no_service": "the webhook is gone: put a new one into connection '{conn_id}'",
    "no_service_id": "the webhook is gone: put a new one into connection '{conn_id}'",
    "no_team": "the workspace is gone: put a new webhook into connection '{conn_id}'",
    "no_active_hooks": "the webhook is disabled: put a new one into connection '{conn_id}'",
    "invalid_token": "put a new webhook into connection '{conn_id}'",
    "token_revoked": "put a new webhook into connection '{conn_id}'",
    "account_inactive": "put a new webhook into connection '{conn_id}'",
    "channel_not_found": "the channel is gone: put the webhook of another into connection '{conn_id}'",
    "channel_is_archived": "put the webhook of another channel into connection '{conn_id}'",
    "action_prohibited": "an admin of the workspace has restricted webhooks",
}


@dataclass(frozen=True)
class SlackWebhookChannel:
    """
    An incoming webhook through an Airflow connection of the slack provider, type ``slackwebhook``.

    A webhook takes no files, so there is no chart; the message's links lead to it.
    """

    conn_id: str
    name: ClassVar[str] = "slack_webhook"

    @classmethod
    def from_spec(cls, spec: BatchSpec) -> SlackWebhookChannel | Unconfigured:
        """Return the channel of a batch; unconfigured while ``slack_webhook_conn_id`` is unset."""
        conn_id = spec.slack_webhook_conn_id
        return cls(conn_id) if conn_id else Unconfigured(cls.name, "slack_webhook_conn_id")

    def connections(self) -> dict[str, str]:
        """Return the connection by its key."""
        return {"slack_webhook_conn_id": self.conn_id}

    def send(self, message: Message, chart: bytes | None, filename: str, *, alerts: Sequence[Alert] = ()) -> None:
        """Send the message; see :class:`~anomstack_provider.delivery.channels.Channel`."""
        from slack_sdk.errors import SlackClientError

        client = self._client()
        try:
            answer = _post(client, message)
            wait = _header(answer, "Retry-After")
            if answer.status_code == 429 and wait.isdecimal() and int(wait) <= LONGEST_WAIT:
                time.sleep(int(wait))  # what is limited was not done
                answer = _post(client, message)
        except (SlackClientError, OSError, http.client.HTTPException, ValueError) as error:
            raise self._error(client, f"no answer that can be read: {type(error).__name__}: {error}") from error
        if answer.status_code != 200 or answer.body.strip() != "ok":
            raise self._error(client, self._refusal(answer))

    def _client(self) -> WebhookClient:
        from airflow.providers.common.compat.sdk import AirflowException, AirflowNotFoundException
        from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook

        # No handlers: they would post again after a lost connection, when the first post may have arrived.
        # A logger of its own: at level DEBUG the client logs its URL, which is the secret.
        hook = SlackWebhookHook(slack_webhook_conn_id=self.conn_id, retry_handlers=[], logger=_silent())
        try:
            return hook.client
        except AirflowNotFoundException as error:
            reason = f"no Airflow connection '{self.conn_id}' with a webhook as password (key slack_webhook_conn_id)"
            raise DeliveryError(self.name, reason) from error
        except (AirflowException, ValueError) as error:
            reason = f"connection '{self.conn_id}' (key slack_webhook_conn_id) cannot be used: {type(error).__name__}"
            raise DeliveryError(self.name, reason) from error

    def _refusal(self, answer: WebhookResponse) -> str:
        """Say why the message was refused, and what to do where that is known."""
        if answer.status_code == 429:
            wait = _header(answer, "Retry-After") or "unknown"
            return f"the webhook is asked too often (HTTP 429), it wants a wait of {wait} s; the next run sends this"
        code = answer.body.strip()
        if answer.status_code == 200:
            return f"the answer does not say that the message was posted: {code[:100] or 'nothing'}"
        gone = "the webhook is gone: put a new one into connection '{conn_id}'" if answer.status_code == 404 else ""
        advice = _WHAT_TO_DO.get(code, gone).format(conn_id=self.conn_id)
        refused = f"the webhook refused the message: {code[:100] or 'no reason given'} (HTTP {answer.status_code})"
        return f"{refused}; {advice}" if advice else refused

    def _error(self, client: WebhookClient, reason: str) -> DeliveryError:
        path = client.url.partition("://")[2].partition("/")[2]
        parts = [part for part in path.split("/") if len(part) >= 8]
        return DeliveryError(self.name, plain_reason(reason, (client.url, path, *parts)))


def _post(client: WebhookClient, message: Message) -> WebhookResponse:
    return client.send(
        text=slack_escape(message.first_line), blocks=message.blocks, unfurl_links=False, unfurl_media=False
    )


def _header(answer: WebhookResponse, name: str) -> str:
    return str(answer.headers.get(name) or "")


def _silent() -> logging.Logger:
    logger = logging.getLogger(f"{__name__}.client")
    logger.setLevel(logging.CRITICAL)
    return logger
