"""Whom an alert is for: the first route that fits names its channels, the methods of its kind where none fits."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.config.keys import DESTINATIONS
from anomstack_provider.delivery.holding import rank

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from anomstack_provider.config.keys import Route
    from anomstack_provider.config.spec import BatchSpec


class Routing:
    """The routes of one batch."""

    def __init__(self, spec: BatchSpec) -> None:
        self._spec = spec

    def channels(self, alert: Alert) -> tuple[str, ...]:
        """Return the names of the channels that an alert goes to; empty: to none, because a route says so."""
        methods: Sequence[str] = methods_of(self._spec, alert.kinds or (alert.kind,))
        for route in self._spec.routes:
            if self._fits(route, alert):
                methods = methods if route.channels is None else route.channels
                return tuple(dict.fromkeys(channel_name(method, route) for method in methods))
        return tuple(dict.fromkeys(methods))

    def _fits(self, route: Route, alert: Alert) -> bool:
        tags = dict(alert.tags)
        return (
            (not route.batches or _named(alert.metric_batch, route.batches))
            and (not route.metrics or any(_named(name, route.metrics) for name in (alert.metric_name, *alert.metrics)))
            and all(tags.get(key) == value for key, value in route.tags.items())
            and (route.owner is None or route.owner in self._owners(alert))
            and (route.severity is None or rank(alert.severity) >= rank(route.severity))
            and (not route.kinds or alert.is_of(route.kinds))
        )

    def _owners(self, alert: Alert) -> set[str]:
        """Return the owners of what the alert is about, each the batch's where ``metric_settings`` name none."""
        return {self._spec.about(name).owner or self._spec.owner for name in alert.metrics or (alert.metric_name,)}


def methods_of(spec: BatchSpec, kinds: Collection[str]) -> list[str]:
    """Return the channels of an alert, by all that was found, that no route fits."""
    limits = "threshold" in kinds and "tholdalert_methods" in spec.model_fields_set
    others = not limits or len(kinds) > 1
    return [*(spec.alert_methods if others else ()), *(spec.tholdalert_methods if limits else ())]


def channel_name(method: str, route: Route) -> str:
    """Return what the ledger calls a channel: its method, with the destination that a route gives it."""
    key = DESTINATIONS.get(method)
    destination = getattr(route, key) if key else None
    if not destination:
        return method
    return f"{method}:{destination if isinstance(destination, str) else ','.join(destination)}"


def _named(name: str, patterns: Sequence[str]) -> bool:
    return any(name == pattern or fnmatchcase(name, pattern) for pattern in patterns)
