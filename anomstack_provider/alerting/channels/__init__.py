"""The channels that alerts go out by: one file each, listed here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING

from anomstack_provider.alerting.channels.base import Channel, DeliveryError, Unconfigured
from anomstack_provider.alerting.channels.email import EmailChannel
from anomstack_provider.alerting.channels.slack import SlackChannel

if TYPE_CHECKING:
    from anomstack_provider.config.spec import BatchSpec

__all__ = ["Channel", "DeliveryError", "Unconfigured", "open_channels"]

_CHANNELS: Mapping[str, Callable[[BatchSpec], Channel | Unconfigured]] = {
    "email": EmailChannel.from_spec,
    "slack": SlackChannel.from_spec,
}


def open_channels(spec: BatchSpec) -> dict[str, Channel | Unconfigured]:
    """
    Return what ``alert_methods`` names, in that order.

    A method without a destination comes back as :class:`Unconfigured`, so that it can be told instead of
    forgotten. No connection is opened before a message is sent. Raises ``ValueError`` for an unknown method.
    """
    opened: dict[str, Channel | Unconfigured] = {}
    for method in spec.alert_methods:
        name = method.strip().lower()
        if name not in _CHANNELS:
            near = get_close_matches(name, _CHANNELS, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            known = ", ".join(_CHANNELS)
            raise ValueError(f"alert_methods: there is no channel '{method}', only {known}{hint}")
        opened[name] = _CHANNELS[name](spec)
    return opened
