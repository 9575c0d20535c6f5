"""Rules between the keys of a batch: what contradicts itself, and so cannot be run."""

from __future__ import annotations

from collections.abc import Iterator

from anomstack_provider.config import keys
from anomstack_provider.config.crons import cron_expression
from anomstack_provider.config.explain import Problem, nearest

# Another spelling of a key -> the key. Both may be given if they say the same.
SPELLINGS = {
    "schedule": "ingest_cron_schedule",
    "disable_alerts": "disable_alert",
    "llmalert_anomaly_agent_system_prompt": "llmalert_anomaly_agent_detection_prompt",
}

# A count that must not be above another.
_NOT_ABOVE = (
    ("train_min_n", "train_max_n"),
    ("alert_recent_n", "alert_max_n"),
    ("change_detect_last_n", "change_max_n"),
    ("llmalert_recent_n", "llmalert_prompt_max_n"),
)


def conflicts(spec: keys.Keys) -> Iterator[Problem]:
    """Yield each contradiction with the keys that it concerns."""
    yield from _spelling_conflicts(spec)
    if not (spec.disable_ingest or spec.disable_batch):
        if spec.ingest_sql and spec.ingest_fn:
            yield Problem(
                ("ingest_fn",),
                "ingest_sql and ingest_fn are both given; keep one of them",
                ("ingest_sql",),
            )
        elif not spec.ingest_sql and not spec.ingest_fn:
            yield Problem((), "has neither ingest_sql nor ingest_fn; give one, or set disable_ingest: true")
    for smaller, larger in _NOT_ABOVE:
        least, most = getattr(spec, smaller), getattr(spec, larger)
        if least > most:
            yield Problem((smaller,), f"{smaller} ({least}) is above {larger} ({most})", (larger,))
    tags = [model.model_tag for model in spec.model_configs]
    for position, tag in enumerate(tags):
        if tag in tags[:position]:
            message = f"'{tag}' is the tag of an earlier detector too; give each its own"
            yield Problem(("model_configs", position, "model_tag"), message)
    for position, event in enumerate(spec.events):
        for key, message in event.conflicts(spec.timezone):
            yield Problem(("events", position, key), message)
    yield from _channel_conflicts(spec)
    for path, gates in spec.all_gates():
        for at, message in gates.conflicts(spec.timezone):
            yield Problem((*path, *at), message)
    for key, example in (
        ("history_chunk", "30d"),
        ("event_expires", "7d"),
        ("llmalert_timeout", "1m"),
        ("llmalert_run_timeout", "10m"),
    ):
        if not getattr(spec, key):
            yield Problem((key,), f"expected more than 0, such as {example}")
    if spec.catchup and not spec.start_date:
        yield Problem(("catchup",), "needs a start_date to catch up from")


def _channel_conflicts(spec: keys.Keys) -> Iterator[Problem]:
    """Yield what names a channel that is neither built in nor among ``notifiers``."""
    known = list(keys.CHANNELS)
    for position, notifier in enumerate(spec.notifiers):
        if notifier.name in known:
            message = f"'{notifier.name}' is the name of another channel; give this one its own"
            yield Problem(("notifiers", position, "name"), message)
        known.append(notifier.name)
    named: list[tuple[tuple[str | int, ...], tuple[str, ...]]] = [
        (("alert_methods",), spec.alert_methods),
        (("tholdalert_methods",), spec.tholdalert_methods),
        *((("routes", i, "channels"), route.channels or ()) for i, route in enumerate(spec.routes)),
        *((("budget_per_week", name), (name,)) for name in spec.budget_per_week),
    ]
    for path, names in named:
        for name in names:
            if name not in known:
                yield Problem(path, f"there is no channel '{name}', only {', '.join(known)}{nearest(name, known)}")


def _spelling_conflicts(spec: keys.Keys) -> Iterator[Problem]:
    for other, key in SPELLINGS.items():
        first, second = getattr(spec, key), getattr(spec, other)
        if other == "schedule" and second is not None:
            same = cron_expression(first) == cron_expression(second)
        else:
            same = second is None or first == second
        if not same:
            message = f"{other} and {key} are one setting and say different things; keep one of them"
            yield Problem((other,), message, (key,))
