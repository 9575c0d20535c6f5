"""What every channel is, how it refuses, and how a reason is kept free of secrets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.alerting.wording import elide, one_line
from anomstack_provider.messages.message import Message

_REASON_LIMIT = 500
# Slack names its wait in seconds when it is asked too much at once; a longer one is left to the next run.
LONGEST_WAIT = 30


class DeliveryError(Exception):
    """
    A channel did not deliver a message, or not to everyone.

    :param channel: name of the channel, as in ``alert_methods``.
    :param reason: one line for a person: what was refused, by whom, and what to do; free of secrets.
    :param accepted: the provider took the message for some recipients; sent again, they would have it twice.
    """

    def __init__(self, channel: str, reason: str, *, accepted: bool = False) -> None:
        super().__init__(f"{channel}: {reason}")
        self.channel = channel
        self.reason = reason
        self.accepted = accepted


class Channel(Protocol):
    """A way to a person. One file per channel in this folder; ``channels/__init__`` lists them."""

    @property
    def name(self) -> str:
        """What ``alert_methods`` calls it."""
        ...

    def connections(self) -> dict[str, str]:
        """Return the Airflow connections that it needs: their ids, by the config key that names them."""
        ...

    def send(self, message: Message, chart: bytes | None, filename: str, *, alerts: Sequence[Alert] = ()) -> None:
        """
        Send a message with its chart (PNG; None: could not be drawn).

        ``alerts`` are what the message tells of, the worst first, for a channel that words it in a way of its own.
        Returns only when the provider acknowledged the message, else raises :class:`DeliveryError`. A chart
        that alone cannot be delivered is said to be unavailable and is no error.
        """
        ...


@dataclass(frozen=True)
class Unconfigured:
    """
    A channel that ``alert_methods`` names but that has no destination yet.

    :param key: the config key that would give it one.
    """

    name: str
    key: str


def plain_reason(reason: object, secrets: Iterable[str | None]) -> str:
    """Return a reason on one line of moderate length with every secret blotted out: servers like to echo."""
    text = str(reason)
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "***")
    return elide(one_line(text), _REASON_LIMIT)
