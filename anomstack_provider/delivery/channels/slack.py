"""Alerts by Slack: a message of blocks in one channel, the chart in its thread."""

from __future__ import annotations

import http.client
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.delivery.channels.base import LONGEST_WAIT, DeliveryError, Unconfigured, plain_reason
from anomstack_provider.messages.message import CHART_UNAVAILABLE, Message, chart_note, slack_escape

if TYPE_CHECKING:
    from slack_sdk import WebClient
    from slack_sdk.errors import SlackApiError
    from slack_sdk.web import SlackResponse

    from anomstack_provider.config.spec import BatchSpec

log = logging.getLogger(__name__)

_WHAT_TO_DO = {
    "invalid_auth": "check the token in connection '{conn_id}'",
    "not_authed": "put a bot token into connection '{conn_id}'",
    "token_revoked": "put a new token into connection '{conn_id}'",
    "token_expired": "put a new token into connection '{conn_id}'",
    "account_inactive": "put a new token into connection '{conn_id}'",
    "channel_not_found": "check slack_channel, and invite the app to it if it is private",
    "not_in_channel": "invite the app to {destination}",
    "is_archived": "name another slack_channel",
    "missing_scope": "the app needs the scope {needed}",
}


@dataclass(frozen=True)
class SlackChannel:
    """
    Slack through an Airflow connection of the slack provider (its API, with a bot token).

    The token needs the scopes ``chat:write`` and, for charts, ``files:write``.

    :param destination: name or id of the channel.
    """

    destination: str
    conn_id: str
    name: ClassVar[str] = "slack"

    @classmethod
    def from_spec(cls, spec: BatchSpec) -> SlackChannel | Unconfigured:
        """Return the channel of a batch; unconfigured while ``slack_channel`` is empty."""
        destination = (spec.slack_channel or "").strip()
        return cls(destination, spec.slack_conn_id) if destination else Unconfigured(cls.name, "slack_channel")

    def connections(self) -> dict[str, str]:
        """Return the connection by its key."""
        return {"slack_conn_id": self.conn_id}

    def send(self, message: Message, chart: bytes | None, filename: str, *, alerts: Sequence[Alert] = ()) -> None:
        """Send the message, then the chart; see :class:`~anomstack_provider.delivery.channels.Channel`."""
        client = self._client()
        blocks = message.blocks if chart or not message.charted else [*message.blocks, chart_note(CHART_UNAVAILABLE)]
        posted = self._post(client, message, blocks)
        if chart is None:
            return
        place = {"channel": posted["channel"], "ts": posted["ts"]}
        try:
            # An upload wants the channel's id, which the post has just told, whatever name the config uses.
            _patiently(
                lambda: client.files_upload_v2(
                    channel=place["channel"],
                    thread_ts=place["ts"],
                    file=chart,
                    filename=filename,
                    title=message.first_line,
                    alt_txt=f"Chart: {message.first_line}",
                )
            )
        except Exception:
            # The message is out. Whatever is wrong with its picture must not make it go out again.
            log.exception("slack: the message was posted to %s, its chart was refused", self.destination)
            self._say_no_chart(client, message, place)

    def _client(self) -> WebClient:
        from airflow.providers.common.compat.sdk import AirflowException, AirflowNotFoundException
        from airflow.providers.slack.hooks.slack import SlackHook

        # No handlers: they would post again after a lost connection, when the first post may have arrived.
        hook = SlackHook(slack_conn_id=self.conn_id, retry_handlers=[])
        try:
            return hook.client
        except AirflowNotFoundException as error:
            reason = f"no Airflow connection '{self.conn_id}' with a token (key slack_conn_id): {error}"
            raise DeliveryError(self.name, plain_reason(reason, ())) from error
        except (AirflowException, ValueError) as error:
            reason = f"connection '{self.conn_id}' (key slack_conn_id) cannot be used: {type(error).__name__}"
            raise DeliveryError(self.name, reason) from error

    def _post(self, client: WebClient, message: Message, blocks: list[dict[str, Any]]) -> SlackResponse:
        """Post the message; returns Slack's acknowledgement with the channel's id and the message's time."""
        from slack_sdk.errors import SlackApiError, SlackClientError

        try:
            posted = _patiently(
                lambda: client.chat_postMessage(
                    channel=self.destination,
                    text=slack_escape(message.first_line),
                    blocks=blocks,
                    mrkdwn=False,  # an asterisk in a metric's name is an asterisk in a notification, too
                    unfurl_links=False,
                    unfurl_media=False,
                )
            )
            acknowledged = posted.get("ok") is True and posted.get("ts") and posted.get("channel")
        except SlackApiError as error:
            raise self._error(client, self._refusal(error)) from error
        except (SlackClientError, OSError, http.client.HTTPException, ValueError, AttributeError) as error:
            # AttributeError: the SDK's own on an answer that is JSON but no object.
            raise self._error(client, f"no answer that can be read: {type(error).__name__}: {error}") from error
        if not acknowledged:
            raise self._error(client, "the answer does not say that the message was posted")
        return posted

    def _refusal(self, error: SlackApiError) -> str:
        """Say why Slack refused, and what to do where that is known."""
        answer = error.response.data if isinstance(error.response.data, dict) else {}
        status, code = error.response.status_code, str(answer.get("error") or "no reason given")
        if status == 429:
            wait = error.response.headers.get("Retry-After")
            return f"Slack is asked too often (HTTP 429), it wants a wait of {wait} s; the next run sends this"
        advice = _WHAT_TO_DO.get(code, "").format(
            conn_id=self.conn_id, destination=self.destination, needed=answer.get("needed")
        )
        refused = f"Slack refused the message: {code}" + ("" if status == 200 else f" (HTTP {status})")
        return f"{refused}; {advice}" if advice else refused

    def _say_no_chart(self, client: WebClient, message: Message, place: dict[str, Any]) -> None:
        blocks = [*message.blocks, chart_note(CHART_UNAVAILABLE)]
        try:
            client.chat_update(**place, text=slack_escape(message.first_line), blocks=blocks)
        except Exception:
            log.exception("slack: the posted message could not be marked as having no chart")

    def _error(self, client: WebClient, reason: str) -> DeliveryError:
        return DeliveryError(self.name, plain_reason(reason, (client.token,)))


def _patiently(call: Callable[[], SlackResponse]) -> SlackResponse:
    """Make a call, and once more if Slack asks to come back in a moment: what it limits it has not done."""
    from slack_sdk.errors import SlackApiError

    try:
        return call()
    except SlackApiError as error:
        wait = str(error.response.headers.get("Retry-After", ""))
        if error.response.status_code != 429 or not wait.isdecimal() or int(wait) > LONGEST_WAIT:
            raise
        time.sleep(int(wait))
        return call()
