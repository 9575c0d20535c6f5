"""What a batch may say, but probably did not mean."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from anomstack_provider.config import keys, overrides
from anomstack_provider.config.crons import step_warning
from anomstack_provider.config.explain import dotted
from anomstack_provider.config.spec import BatchSpec


def cautions(spec: BatchSpec) -> list[tuple[str, str]]:
    """Return (key, sentence) for what is accepted but probably not what was meant."""
    found = []
    for key in sorted(spec.model_fields_set):
        if key.endswith("_cron_schedule") and (warning := step_warning(getattr(spec, key))):
            written = "schedule" if key == "ingest_cron_schedule" and spec.schedule else key
            found.append((written, warning))
    if spec.recipe == "anomstack" and "false_alarms_per_month" in spec.model_fields_set:
        found.append(("false_alarms_per_month", "no effect with recipe anomstack, whose scores are not calibrated"))
    elif spec.alert_threshold is not None and "false_alarms_per_month" in spec.model_fields_set:
        found.append(("false_alarms_per_month", "no effect on alerts beside alert_threshold"))
    for key in keys.CALENDAR_KEYS:
        for entry in getattr(spec, key):
            if entry.tags and not any(entry.covers(name, tags) for name, tags in spec.metric_tags.items()):
                tags = ", ".join(f"{name}: {tag}" for name, tag in entry.tags.items())
                found.append((key, f"no metric has the tags {tags} in metric_tags"))
    if spec.tholdalert_thresholds and "disable_tholdalert" not in spec.model_fields_set:
        found.append(("tholdalert_thresholds", "no effect without disable_tholdalert: false"))
    if "alert_methods" in spec.model_fields_set and spec.is_changed("alert_methods"):
        named = ((method, keys.DESTINATIONS.get(method.strip().lower())) for method in spec.alert_methods)
        without = [(method, key) for method, key in named if key and not getattr(spec, key)]
        found += [("alert_methods", f"{method} sends nothing without {key}") for method, key in without]
    for path, gates in spec.all_gates():
        if gates.guardrail and gates.guardrail.metric in spec.score_exclude_metrics:
            name = gates.guardrail.metric
            key = dotted((*path, "guardrail"))
            found.append((str(path[0]), f"{key}: '{name}' is in score_exclude_metrics, has no range, stops all"))
    if not spec.disable_delete and (read := _reads_further_than(spec, spec.delete_after_n_days)):
        longer = ", ".join(f"{key} reads {days}" for key, days in read.items())
        found.append(("delete_after_n_days", f"deletes after {spec.delete_after_n_days} days, but {longer}"))
    found += _override_cautions(spec)
    return found


def _reads_further_than(spec: BatchSpec, days: int) -> dict[str, int]:
    """Return the keys by which some step reads rows older than so many days, and how many days it reads."""
    wanted = {
        "train_metric_timestamp_max_days_ago": not spec.is_off("train") or not spec.is_off("score"),
        "score_metric_timestamp_max_days_ago": not spec.is_off("score"),
        "change_metric_timestamp_max_days_ago": "change" in spec.finds,
        "event_expires": bool(spec.finds),
    }
    read = {key: getattr(spec, key) for key, is_wanted in wanted.items() if is_wanted}
    lengths = {key: value.days if isinstance(value, timedelta) else int(value) for key, value in read.items()}
    return {key: length for key, length in lengths.items() if length > days}


def _override_cautions(spec: BatchSpec) -> Iterator[tuple[str, str]]:
    """Yield what may surprise in texts that stand in the place of built-in ones, and in jobs that are left out."""
    texts = {key: text for key in overrides.KEYS if (text := getattr(spec, key))}
    if known := sorted(key for key, text in texts.items() if overrides.is_built_in(text)):
        said = "Anomstack's own files below defaults/, whose meaning is built in, are not run"
        yield known[0], f"{said} ({', '.join(known)}); one of another name or folder is"
    for key in (key for key in overrides.QUERIES if spec.override(key)):
        if clock := overrides.clock_in([texts[key], *spec.sources(key).files.values()]):
            yield key, f"reads the clock ({clock}), so a backfill will not give what live runs gave; use as_of"
    if spec.override("preprocess_fn") and spec.recipe == "seasonal":
        yield "preprocess_fn", "no effect with recipe seasonal"
    if stopped := sorted(job for job in spec.stopped if not getattr(spec, f"disable_{job}")):
        key = f"{stopped[0]}_default_schedule_status"
        message = f"STOPPED beside a running ingest leaves out: {', '.join(stopped)}"
        yield key, f"{message}; set it to RUNNING, or remove it, to have it"
