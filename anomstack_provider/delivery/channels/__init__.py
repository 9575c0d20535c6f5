"""The channels that alerts go out by: one file each, listed here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from anomstack_provider.config.keys import DESTINATIONS
from anomstack_provider.delivery.channels.base import Channel, DeliveryError, Unconfigured
from anomstack_provider.delivery.channels.email import EmailChannel
from anomstack_provider.delivery.channels.notifier import NotifierChannel
from anomstack_provider.delivery.channels.slack import SlackChannel
from anomstack_provider.delivery.channels.slack_webhook import SlackWebhookChannel
from anomstack_provider.delivery.routing import channel_name, methods_of

if TYPE_CHECKING:
    from anomstack_provider.config.spec import BatchSpec

__all__ = ["Channel", "DeliveryError", "Unconfigured", "open_channels"]

_CHANNELS: Mapping[str, Callable[[BatchSpec], Channel | Unconfigured]] = {
    "email": EmailChannel.from_spec,
    "slack": SlackChannel.from_spec,
    "slack_webhook": SlackWebhookChannel.from_spec,
}


def open_channels(
    spec: BatchSpec, *, links: Mapping[str, str] | None = None, context: Mapping[str, Any] | None = None
) -> dict[str, Channel | Unconfigured]:
    """
    Return what ``alert_methods`` names, in that order, then what ``tholdalert_methods`` and ``routes`` name.

    The names are those of :class:`~anomstack_provider.delivery.routing.Routing`. A method without a destination comes
    back as :class:`Unconfigured`, so that it can be told instead of forgotten. No connection is opened and no notifier
    imported before a message is sent. Raises ``ValueError`` for an unknown method.

    :param links: URL per name, for the templates of notifiers.
    :param context: Airflow's context of the task, for notifiers.
    """
    opener = _Opener(spec, links or {}, context or {})
    methods = methods_of(spec, ("anomaly", "threshold"))
    opened = {method: opener.open(method, spec) for method in dict.fromkeys(methods)}
    for route in spec.routes:
        for method in methods if route.channels is None else route.channels:
            name, key = channel_name(method, route), DESTINATIONS.get(method)
            if name not in opened:
                there = {key: getattr(route, key)} if key and name != method else {}
                opened[name] = opener.open(method, spec.model_copy(update=there))
    return opened


class _Opener:
    def __init__(self, spec: BatchSpec, links: Mapping[str, str], context: Mapping[str, Any]) -> None:
        self._notifiers = {
            config.name: NotifierChannel.from_config(config, links, context) for config in spec.notifiers
        }

    def open(self, method: str, spec: BatchSpec) -> Channel | Unconfigured:
        name = method.strip().lower()
        if name in _CHANNELS:
            return _CHANNELS[name](spec)
        if name in self._notifiers:
            return self._notifiers[name]
        known = [*_CHANNELS, *self._notifiers]
        near = get_close_matches(name, known, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise ValueError(f"alert_methods: there is no channel '{method}', only {', '.join(known)}{hint}")
