"""Alerts by any notifier class of Airflow, named in YAML: PagerDuty, Opsgenie, Teams, Discord, one's own."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.delivery.channels.base import DeliveryError, plain_reason
from anomstack_provider.messages.message import Message

if TYPE_CHECKING:
    from airflow.sdk import BaseNotifier

    from anomstack_provider.config.keys import NotifierConfig

log = logging.getLogger(__name__)

_SECRET_NAME = re.compile(r"pass|token|secret|key|url|auth|webhook", re.IGNORECASE)
_URL_PATH = re.compile(r"(https?://[^/\s'\"]+)/[^\s'\"]*")


@dataclass(frozen=True)
class NotifierChannel:
    """
    A notifier class, called once per message; that it returns is its acknowledgement.

    :param dotted_path: of the class, imported only when there is something to send.
    :param args: its arguments; texts in them are Jinja templates, rendered in a sandbox.
    :param links: URL per name, for the templates.
    :param context: Airflow's context of the task, which the notifier is given.
    """

    name: str
    dotted_path: str
    args: Mapping[str, Any]
    links: Mapping[str, str] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_config(
        cls, config: NotifierConfig, links: Mapping[str, str], context: Mapping[str, Any]
    ) -> NotifierChannel:
        """Return the channel of an entry of ``notifiers``."""
        return cls(config.name, config.dotted_path, config.args, links, context)

    def connections(self) -> dict[str, str]:
        """Return the connections that its arguments name, as far as they are no templates."""
        return {
            f"notifiers: {self.name}: {key}": value
            for key, value in self.args.items()
            if key.endswith("conn_id") and isinstance(value, str) and value and "{" not in value
        }

    def send(self, message: Message, chart: bytes | None, filename: str, *, alerts: Sequence[Alert] = ()) -> None:
        """Render the arguments, make the notifier and call it; see :class:`~...channels.Channel`."""
        secrets = list(self._secrets())
        try:
            notifier = self.made(message, alerts)
            # Not called as a callback would be: that renders the arguments once more, and a metric's name
            # with braces in it would become a template.
            notifier.notify(dict(self.context))  # type: ignore[arg-type]
        except Exception as error:
            # It may raise anything, and what it says may hold the address or token that it used.
            log.exception("%s: %s could not notify", self.name, self.dotted_path)
            raise self._error(f"{type(error).__name__}: {error}", secrets) from error

    def made(self, message: Message, alerts: Sequence[Alert]) -> BaseNotifier:
        """Return the notifier for a message, its arguments rendered. Raises whatever a class of its own may raise."""
        return self.load()(**_rendered(self.args, self._names(message, alerts)))

    def load(self) -> type[BaseNotifier]:
        """Import the class. Raises ImportError, AttributeError, or TypeError for what is no notifier."""
        from airflow.sdk import BaseNotifier

        module, _, name = self.dotted_path.rpartition(".")
        found = getattr(import_module(module), name)
        if not (isinstance(found, type) and issubclass(found, BaseNotifier)):
            raise TypeError(f"{self.dotted_path} is no subclass of Airflow's BaseNotifier")
        return found

    def _names(self, message: Message, alerts: Sequence[Alert]) -> dict[str, Any]:
        """Return what a template may use."""
        events = [alert.to_dict() for alert in alerts]
        first = {"first_line": message.first_line, "message_id": f"{message.event_id}:{message.transition}"}
        event = {**(events[0] if events else {}), **first}
        return {
            "event": event,
            "events": events,
            "text": message.text,
            "html": message.html,
            "first_line": message.first_line,
            "links": defaultdict(str, self.links),  # a drill, or an Airflow without base_url, has none
        }

    def _secrets(self) -> Iterator[str]:
        """Yield what must not be repeated in an error."""
        from airflow.providers.common.compat.sdk import AirflowException, BaseHook

        for key, value in _texts(self.args):
            if _SECRET_NAME.search(key) and not key.endswith("conn_id") and "{" not in value:
                yield value
        for conn_id in self.connections().values():
            try:
                connection = BaseHook.get_connection(conn_id)
            except AirflowException:
                continue  # the notifier will say so
            if connection.password:
                yield connection.password
            for key, value in _texts(connection.extra_dejson):
                if _SECRET_NAME.search(key):
                    yield value

    def _error(self, reason: str, secrets: Sequence[str]) -> DeliveryError:
        # The path of an address is what makes a webhook secret.
        plain = plain_reason(_URL_PATH.sub(r"\1/***", plain_reason(reason, secrets)), ())
        return DeliveryError(self.name, f"{self.dotted_path.rpartition('.')[2]}: {plain}")


def _rendered(value: Any, names: Mapping[str, Any]) -> Any:
    """Return the value with every text in it rendered; what a template does not know is an error."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined)

    def render(value: Any) -> Any:
        if isinstance(value, str):
            return environment.from_string(value).render(names)
        if isinstance(value, Mapping):
            return {key: render(entry) for key, entry in value.items()}
        if isinstance(value, list | tuple):
            return [render(entry) for entry in value]
        return value

    return render(value)


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text in a nested value with the name that it goes by."""
    if isinstance(value, str):
        if value:
            yield key, value
    elif isinstance(value, Mapping):
        for name, entry in value.items():
            yield from _texts(entry, str(name))
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _texts(entry, key)
