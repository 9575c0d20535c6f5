"""Which connections and notifier classes the batches of a folder need and do not have. Never called while parsing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anomstack_provider.alerting.alert import Alert
    from anomstack_provider.config.loaded import LoadedFolder
    from anomstack_provider.config.spec import BatchSpec


def missing_connections(folder: LoadedFolder) -> list[str]:
    """Return a sentence for every connection that is not defined and every notifier that cannot be made of an alert."""
    known: dict[str, bool] = {}
    return [
        f"{batch.path}: {name}: {problem}"
        for name, batch in sorted(folder.batches.items())
        for problem in connection_problems(batch.spec, known)
    ]


def connection_problems(spec: BatchSpec, known: dict[str, bool]) -> Iterator[str]:
    """Yield what is missing for one batch; ``known`` remembers which connections there are."""
    for conn_id, keys in _wanted(spec).items():
        if conn_id not in known:
            known[conn_id] = _is_defined(conn_id)
        if not known[conn_id]:
            yield f"no Airflow connection '{conn_id}' ({', '.join(keys)}); create it or name another"
    yield from _broken_notifiers(spec)


def _wanted(spec: BatchSpec) -> dict[str, list[str]]:
    """Return the ids of the connections that a batch needs, each with the keys that name it."""
    from anomstack_provider.delivery.channels import Unconfigured, open_channels

    wanted: dict[str, list[str]] = {}
    if spec.conn_id:
        wanted[spec.conn_id] = ["conn_id"]
    if spec.metrics_conn_id:
        wanted.setdefault(spec.metrics_conn_id, []).append("metrics_conn_id")
    if not spec.disable_llmalert:
        wanted.setdefault(spec.llmalert_conn_id, []).append("llmalert_conn_id")
    # Without alerts the summary alone goes out, to alert_methods whatever the routes.
    told = spec if spec.finds else spec.model_copy(update={"routes": ()})
    if not spec.finds and spec.disable_summary:
        return wanted
    for channel in open_channels(told).values():
        for key, conn_id in {} if isinstance(channel, Unconfigured) else channel.connections().items():
            keys = wanted.setdefault(conn_id, [])
            if key not in keys:
                keys.append(key)
    return wanted


def _is_defined(conn_id: str) -> bool:
    from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

    try:
        BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        return False
    return True


def _broken_notifiers(spec: BatchSpec) -> Iterator[str]:
    from anomstack_provider.delivery.channels.notifier import NotifierChannel
    from anomstack_provider.messages.message import compose

    alert = _example(spec)
    message = compose(alert, timezone=spec.timezone, links={})
    for notifier in spec.notifiers:
        try:
            NotifierChannel.from_config(notifier, {}, {}).made(message, [alert])
        except Exception as error:  # whatever importing someone's module raises
            yield f"notifiers: {notifier.name}: {type(error).__name__}: {error}"


def _example(spec: BatchSpec) -> Alert:
    """Return an alert of the batch with every number and every tag that any of its metrics has."""
    from anomstack_provider.alerting.alert import Alert

    tags = {str(key): str(value) for own in spec.metric_tags.values() for key, value in own.items()}
    return Alert(
        event_id="0" * 16,
        metric_batch=spec.metric_batch,
        metric_name="example",
        kind="anomaly",
        transition="opened",
        direction="up",
        bucket=datetime(2000, 1, 1, tzinfo=UTC),
        grain="1h",
        value=2.0,
        expected=1.0,
        lower=0.5,
        upper=1.5,
        score=1.0,
        threshold=0.9,
        severity="high",
        tags=tuple(sorted(tags.items())),
    )
