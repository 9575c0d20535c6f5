"""The validated configuration of one batch: all keys together, the rules between them, and its hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import ConfigDict, PrivateAttr, ValidationError, ValidationInfo, field_validator, model_validator

from anomstack_provider.config import keys, overrides
from anomstack_provider.config.about import About
from anomstack_provider.config.crons import cron_expression, step_warning
from anomstack_provider.config.explain import CrossCheckError, Path, Problem, dotted, explain, nearest
from anomstack_provider.config.gates import Gates, named
from anomstack_provider.config.keys import ModelConfig, PreprocessParams, Threshold
from anomstack_provider.config.values import as_utc

__all__ = [
    "LIST_KEYS",
    "SPELLINGS",
    "TEXT_KEYS",
    "BatchSpec",
    "ModelConfig",
    "PreprocessParams",
    "Threshold",
    "check",
]

# Another spelling of a key -> the key. Both may be given if they say the same.
SPELLINGS = {
    "schedule": "ingest_cron_schedule",
    "disable_alerts": "disable_alert",
    "llmalert_anomaly_agent_system_prompt": "llmalert_anomaly_agent_detection_prompt",
}

# A model is a function of these keys, the series and the training tick: nothing else may change it.
_MODEL_KEYS = (
    "metric_batch",
    "recipe",
    "model_configs",
    "preprocess_params",
    "preprocess_fn",
    "train_max_n",
    "train_min_n",
    "train_metric_timestamp_max_days_ago",
    "train_exclude_metrics",
    "train_sql",
    "grain",
    "timezone",
    "completeness_delay",
)

# Where a channel sends to, by its name: the key that says so, of the batch or of a route.
DESTINATIONS = {"email": "email_to", "slack": "slack_channel", "slack_webhook": "slack_webhook_conn_id"}

# Their entries that only suppress or annotate leave a model as it is, and metric_tags only matter to those with tags.
_CALENDAR_KEYS = ("holidays", "events")

# Keys whose presence asks for Anomstack's recipe; of preprocess_params all but the resampling.
_ANOMSTACK_KEYS = ("model_configs", "model_combination_method", "preprocess_fn")
_RESAMPLING = {"freq", "freq_agg"}
# What the seasonal recipe has in the place of Anomstack's defaults.
SEASONAL_DEFAULTS: dict[str, Any] = {
    "train_cron_schedule": "0 */12 * * *",
    "train_max_n": 5000,
    "train_metric_timestamp_max_days_ago": 730,
    "alert_threshold": None,
    "alert_smooth_n": 0,
    "merge_max_gap": "1d",
    "freshness": "auto",
    # A backfill of the last year is trained on as much as its live runs were.
    "delete_after_n_days": 1095,
}

# Keys of metric_settings that messages tell.
_ABOUT_KEYS = {one.name for one in fields(About)}

# Jobs of Anomstack with a schedule of their own that are tasks of the batch's DAG here.
_JOBS = ("train", "score", "alert", "change", "plot")

# A count that must not be above another.
_NOT_ABOVE = (
    ("train_min_n", "train_max_n"),
    ("alert_recent_n", "alert_max_n"),
    ("change_detect_last_n", "change_max_n"),
    ("llmalert_recent_n", "llmalert_prompt_max_n"),
)


@dataclass(frozen=True)
class _Place:
    """Where the includes of a batch's templates begin, and its keys as written; no part of what a batch is."""

    metrics_dir: str = field(default=".", compare=False)
    written: Mapping[str, Any] = field(default_factory=dict, compare=False)


class BatchSpec(
    keys.Prometheus,
    keys.Cleanup,
    keys.Reports,
    keys.LanguageModelAlerts,
    keys.Change,
    keys.ThresholdAlerts,
    keys.Delivery,
    keys.Alerts,
    keys.Score,
    keys.Train,
    keys.Storage,
    keys.Ingest,
    keys.Calendar,
    keys.Schedule,
    keys.Identity,
):
    """
    One batch: every key with its value, immutable.

    Attributes are named like the keys of the YAML. Dates are aware UTC, durations ``timedelta``, lists
    tuples. A wrong value raises pydantic's ``ValidationError``; :func:`check` gives sentences.
    """

    model_config = ConfigDict(title="Anomstack batch", defer_build=False)

    _place: _Place = PrivateAttr(default_factory=lambda: _Place())

    @model_validator(mode="before")
    @classmethod
    def _other_spellings(cls, values: object) -> object:
        if not isinstance(values, dict):
            return values
        given = {key: values[other] for other, key in SPELLINGS.items() if values.get(other) is not None}
        return {
            **given,
            **{key: value for key, value in values.items() if key not in given or value is not None},
        }

    @model_validator(mode="before")
    @classmethod
    def _of_the_recipe(cls, values: object) -> object:
        if not isinstance(values, dict):
            return values
        recipe = values.get("recipe") or ("anomstack" if _asks_for_anomstack(values) else "seasonal")
        defaults = SEASONAL_DEFAULTS if recipe == "seasonal" else {}
        if recipe == "seasonal" and not any(key in keys.Change.model_fields for key in values):
            defaults = {**defaults, "disable_change": True}
        return {**defaults, **values, "recipe": recipe}

    @field_validator("metric_batch")
    @classmethod
    def _has_a_name(cls, name: str) -> str:
        if not name.strip():
            raise ValueError("is empty; give the batch a name")
        return name

    @field_validator("start_date", "history_start")
    @classmethod
    def _in_utc(cls, moment: datetime | None, info: ValidationInfo) -> datetime | None:
        # A wrong timezone is missing from the data and reported on its own.
        return moment and as_utc(moment, info.data.get("timezone", "UTC"))

    @model_validator(mode="after")
    def _cross_checks(self) -> BatchSpec:
        problems = list(self._conflicts())
        if problems:
            raise CrossCheckError(problems)
        return self

    def _conflicts(self) -> Iterator[Problem]:
        yield from self._spelling_conflicts()
        if not (self.disable_ingest or self.disable_batch):
            if self.ingest_sql and self.ingest_fn:
                yield Problem(
                    ("ingest_fn",),
                    "ingest_sql and ingest_fn are both given; keep one of them",
                    ("ingest_sql",),
                )
            elif not self.ingest_sql and not self.ingest_fn:
                yield Problem((), "has neither ingest_sql nor ingest_fn; give one, or set disable_ingest: true")
        for smaller, larger in _NOT_ABOVE:
            least, most = getattr(self, smaller), getattr(self, larger)
            if least > most:
                yield Problem((smaller,), f"{smaller} ({least}) is above {larger} ({most})", (larger,))
        tags = [model.model_tag for model in self.model_configs]
        for position, tag in enumerate(tags):
            if tag in tags[:position]:
                message = f"'{tag}' is the tag of an earlier detector too; give each its own"
                yield Problem(("model_configs", position, "model_tag"), message)
        for position, event in enumerate(self.events):
            for key, message in event.conflicts(self.timezone):
                yield Problem(("events", position, key), message)
        yield from self._channel_conflicts()
        for path, gates in self._all_gates():
            for at, message in gates.conflicts(self.timezone):
                yield Problem((*path, *at), message)
        for key, example in (
            ("history_chunk", "30d"),
            ("event_expires", "7d"),
            ("llmalert_timeout", "1m"),
            ("llmalert_run_timeout", "10m"),
        ):
            if not getattr(self, key):
                yield Problem((key,), f"expected more than 0, such as {example}")
        if self.catchup and not self.start_date:
            yield Problem(("catchup",), "needs a start_date to catch up from")

    def _channel_conflicts(self) -> Iterator[Problem]:
        """Yield what names a channel that is neither built in nor among ``notifiers``."""
        known = list(keys.CHANNELS)
        for position, notifier in enumerate(self.notifiers):
            if notifier.name in known:
                message = f"'{notifier.name}' is the name of another channel; give this one its own"
                yield Problem(("notifiers", position, "name"), message)
            known.append(notifier.name)
        named: list[tuple[tuple[str | int, ...], tuple[str, ...]]] = [
            (("alert_methods",), self.alert_methods),
            (("tholdalert_methods",), self.tholdalert_methods),
            *((("routes", i, "channels"), route.channels or ()) for i, route in enumerate(self.routes)),
            *((("budget_per_week", name), (name,)) for name in self.budget_per_week),
        ]
        for path, names in named:
            for name in names:
                if name not in known:
                    yield Problem(path, f"there is no channel '{name}', only {', '.join(known)}{nearest(name, known)}")

    def _spelling_conflicts(self) -> Iterator[Problem]:
        for other, key in SPELLINGS.items():
            first, second = getattr(self, key), getattr(self, other)
            if other == "schedule" and second is not None:
                same = cron_expression(first) == cron_expression(second)
            else:
                same = second is None or first == second
            if not same:
                message = f"{other} and {key} are one setting and say different things; keep one of them"
                yield Problem((other,), message, (key,))

    def _all_gates(self) -> Iterator[tuple[Path, Gates]]:
        """Yield each set of gates with its place."""
        yield ("alert_gates",), self.alert_gates
        for pattern, entry in self.metric_settings.items():
            yield ("metric_settings", pattern, "alert_gates"), entry.alert_gates

    def about(self, metric_name: str) -> About:
        """Return what ``metric_settings`` tell people of a metric; later entries win key by key."""
        told: dict[str, Any] = {}
        for entry in named(self.metric_settings, metric_name):
            told |= {key: getattr(entry, key) for key in entry.model_fields_set & _ABOUT_KEYS}
        return About(**told)

    def gates(self, metric_name: str) -> Gates:
        """Return the gates of a metric: its own from ``metric_settings``, key by key before the batch's."""
        gates = self.alert_gates
        for entry in named(self.metric_settings, metric_name):
            gates = entry.alert_gates.over(gates)
        return gates

    def priority(self, metric_name: str) -> Literal["low", "normal", "high"]:
        """Return the priority of a metric."""
        found: Literal["low", "normal", "high"] = "normal"
        for entry in named(self.metric_settings, metric_name):
            if "priority" in entry.model_fields_set:
                found = entry.priority
        return found

    @property
    def finds(self) -> frozenset[Literal["anomaly", "threshold", "change", "llm", "late"]]:
        """What the alert task looks for; nothing: it has nothing to do. Without alerts on scores late data are none."""
        wanted: dict[Literal["anomaly", "threshold", "change", "llm", "late"], bool] = {
            "anomaly": not self.is_off("alert"),
            "threshold": not self.disable_tholdalert and bool(self.tholdalert_thresholds),
            "change": not self.is_off("change"),
            "llm": not self.disable_llmalert,
            "late": self.freshness != "off" and not self.is_off("alert"),
        }
        return frozenset(kind for kind, is_wanted in wanted.items() if is_wanted)

    def is_off(self, job: Literal["train", "score", "alert", "change", "plot"]) -> bool:
        """
        Whether a job is switched off, or left stopped by its ``*_default_schedule_status``.

        Anomstack's jobs have schedules of their own, to be started one by one; here they are tasks of one DAG. A job
        that is stopped beside an ingest that is not was left out on purpose. Where ingest is stopped too, or says
        nothing, the status is that of the whole DAG, and starting it starts all of them.
        """
        return bool(getattr(self, f"disable_{job}")) or job in self._stopped

    @property
    def switched_off(self) -> list[str]:
        """The keys that keep a live run from alerting on scores."""
        found = [key for key in ("disable_batch", "disable_alert") if getattr(self, key)]
        return [*found, *(["alert_default_schedule_status"] if "alert" in self._stopped else [])]

    @property
    def is_silent(self) -> bool:
        """Whether a live run alerts on nothing at all; with alerts on scores off, thresholds and changes may be on."""
        return self.disable_batch or not self.finds

    @property
    def _stopped(self) -> frozenset[str]:
        if self.ingest_default_schedule_status != "RUNNING":
            return frozenset()
        return frozenset(job for job in _JOBS if getattr(self, f"{job}_default_schedule_status") == "STOPPED")

    def placed(self, metrics_dir: str, written: Mapping[str, Any]) -> BatchSpec:
        """
        Return the spec with the folder that its templates include from.

        :param written: the keys as the files have them.
        """
        placed = self.model_copy()
        placed._place = _Place(metrics_dir, dict(written))
        return placed

    def override(self, key: str) -> str | None:
        """Return the batch's own text of a key in ``overrides.KEYS``; None where what is built in acts."""
        text: str | None = getattr(self, key)
        return None if text is None or overrides.is_built_in(text) else text

    def sources(self, key: str) -> overrides.Sources:
        """Return what the text of a key is made of beside itself."""
        text = self.override(key)
        return overrides.Sources() if text is None else overrides.Sources.of(text, self._place.metrics_dir)

    def render(self, key: str, names: Mapping[str, Any] | None = None) -> str:
        """
        Return the text of a key with its Jinja rendered over the batch's keys.

        :param names: further names, which win.
        :raises TemplateError: naming batch, key and line.
        """
        from anomstack_provider.config.templating import render

        context = {**self.context(), **(names or {})}
        return render(getattr(self, key) or "", context, self._place.metrics_dir, where=f"{self.metric_batch}: {key}")

    def context(self) -> dict[str, Any]:
        """
        Return the whole configuration for templates: plain values, texts and lists as the files have them.

        A key without a value is left out, and so is an empty list of metrics: Anomstack's templates ask
        ``{% if score_exclude_metrics is defined %}``.
        """
        values = self.model_dump(mode="json")
        for key, written in self._place.written.items():
            if key in TEXT_KEYS | LIST_KEYS and values.get(key) is not None:
                values[key] = written
        return {
            key: value
            for key, value in values.items()
            if value is not None and not (key.endswith("_metrics") and not value)
        }

    @property
    def cron(self) -> str:
        """The schedule as a cron of five fields, presets written out."""
        return cron_expression(self.ingest_cron_schedule)

    def cautions(self) -> list[tuple[str, str]]:
        """Return (key, sentence) for what is accepted but probably not what was meant."""
        found = []
        for key in sorted(self.model_fields_set):
            if key.endswith("_cron_schedule") and (warning := step_warning(getattr(self, key))):
                written = "schedule" if key == "ingest_cron_schedule" and self.schedule else key
                found.append((written, warning))
        if self.recipe == "anomstack" and "false_alarms_per_month" in self.model_fields_set:
            found.append(("false_alarms_per_month", "no effect with recipe anomstack, whose scores are not calibrated"))
        elif self.alert_threshold is not None and "false_alarms_per_month" in self.model_fields_set:
            found.append(("false_alarms_per_month", "no effect on alerts beside alert_threshold"))
        for key in _CALENDAR_KEYS:
            for entry in getattr(self, key):
                if entry.tags and not any(entry.covers(name, tags) for name, tags in self.metric_tags.items()):
                    tags = ", ".join(f"{name}: {tag}" for name, tag in entry.tags.items())
                    found.append((key, f"no metric has the tags {tags} in metric_tags"))
        if self.tholdalert_thresholds and "disable_tholdalert" not in self.model_fields_set:
            found.append(("tholdalert_thresholds", "no effect without disable_tholdalert: false"))
        if "alert_methods" in self.model_fields_set and self._is_changed("alert_methods"):
            named = ((method, DESTINATIONS.get(method.strip().lower())) for method in self.alert_methods)
            without = [(method, key) for method, key in named if key and not getattr(self, key)]
            found += [("alert_methods", f"{method} sends nothing without {key}") for method, key in without]
        for path, gates in self._all_gates():
            if gates.guardrail and gates.guardrail.metric in self.score_exclude_metrics:
                name = gates.guardrail.metric
                key = dotted((*path, "guardrail"))
                found.append((str(path[0]), f"{key}: '{name}' is in score_exclude_metrics, has no range, stops all"))
        if not self.disable_delete and (read := self._reads_further_than(self.delete_after_n_days)):
            longer = ", ".join(f"{key} reads {days}" for key, days in read.items())
            found.append(("delete_after_n_days", f"deletes after {self.delete_after_n_days} days, but {longer}"))
        found += self._override_cautions()
        return found

    def _reads_further_than(self, days: int) -> dict[str, int]:
        """Return the keys by which some step reads rows older than so many days, and how many days it reads."""
        wanted = {
            "train_metric_timestamp_max_days_ago": not self.is_off("train") or not self.is_off("score"),
            "score_metric_timestamp_max_days_ago": not self.is_off("score"),
            "change_metric_timestamp_max_days_ago": "change" in self.finds,
            "event_expires": bool(self.finds),
        }
        read = {key: getattr(self, key) for key, is_wanted in wanted.items() if is_wanted}
        lengths = {key: value.days if isinstance(value, timedelta) else int(value) for key, value in read.items()}
        return {key: length for key, length in lengths.items() if length > days}

    def _override_cautions(self) -> Iterator[tuple[str, str]]:
        """Yield what may surprise in texts that stand in the place of built-in ones, and in jobs that are left out."""
        texts = {key: text for key in overrides.KEYS if (text := getattr(self, key))}
        if known := sorted(key for key, text in texts.items() if overrides.is_built_in(text)):
            said = "Anomstack's own files below defaults/, whose meaning is built in, are not run"
            yield known[0], f"{said} ({', '.join(known)}); one of another name or folder is"
        for key in (key for key in overrides.QUERIES if self.override(key)):
            if clock := overrides.clock_in([texts[key], *self.sources(key).files.values()]):
                yield key, f"reads the clock ({clock}), so a backfill will not give what live runs gave; use as_of"
        if self.override("preprocess_fn") and self.recipe == "seasonal":
            yield "preprocess_fn", "no effect with recipe seasonal"
        if stopped := sorted(job for job in self._stopped if not getattr(self, f"disable_{job}")):
            key = f"{stopped[0]}_default_schedule_status"
            message = f"STOPPED beside a running ingest leaves out: {', '.join(stopped)}"
            yield key, f"{message}; set it to RUNNING, or remove it, to have it"

    def _is_changed(self, key: str) -> bool:
        return bool(getattr(self, key) != type(self).model_fields[key].get_default(call_default_factory=True))

    def config_facts(self) -> dict[str, Any]:
        """Return the keys that determine a model, as plain JSON values."""
        facts: dict[str, Any] = self.model_dump(mode="json", include=set(_MODEL_KEYS))
        facts["completeness_delay"] = self.completeness_delay.total_seconds()
        shaping = {key: [entry for entry in getattr(self, key) if entry.changes_models] for key in _CALENDAR_KEYS}
        for key, entries in shaping.items():
            if entries:  # without any, the same as in versions that knew no calendar
                facts[key] = [entry.model_dump(mode="json") for entry in entries]
        if any(entry.tags for entries in shaping.values() for entry in entries):
            facts["metric_tags"] = self.metric_tags
        for key in ("train_sql", "preprocess_fn"):
            sources = self.sources(key)
            used = {name: value for name, value in self.context().items() if name in sources.names}
            if sources.files or used:
                facts[f"{key}_uses"] = [sources.files, used]
        return facts

    def config_hash(self) -> str:
        """Return 12 hexadecimal digits that change when, and only when, :meth:`config_facts` changes."""
        text = json.dumps(self.config_facts(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def _asks_for_anomstack(values: Mapping[str, Any]) -> bool:
    recipe = values.get("preprocess_params")
    shaping = isinstance(recipe, Mapping) and not set(recipe) <= _RESAMPLING
    return shaping or isinstance(recipe, PreprocessParams) or any(values.get(key) for key in _ANOMSTACK_KEYS)


def check(values: Mapping[str, Any]) -> tuple[BatchSpec | None, list[Problem]]:
    """Return the spec of ``values``, or None and every mistake in them."""
    try:
        return BatchSpec.model_validate(dict(values)), []
    except ValidationError as error:
        # A wrong value under another spelling was read under the key's own name too; it is one mistake.
        return None, [
            problem
            for problem in explain(error, BatchSpec)
            if not problem.path or problem.path[0] not in SPELLINGS.values() or problem.path[0] in values
        ]


def _types_in(annotation: Any) -> set[Any]:
    """Return the types that a value may have: those of a union, of Annotated, of a Literal."""
    if get_origin(annotation) is Literal:
        return {type(choice) for choice in get_args(annotation)}
    if get_origin(annotation) is Annotated:
        return _types_in(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return set().union(*(_types_in(choice) for choice in get_args(annotation)))
    return {annotation}


# Keys whose value is text, a date or a duration: taken as written, so that ``metric_batch: 007`` stays "007".
TEXT_KEYS = frozenset(
    key
    for key, info in BatchSpec.model_fields.items()
    if _types_in(info.annotation) <= {str, datetime, timedelta, NoneType}
)
# Keys whose value is a list of text.
LIST_KEYS = frozenset(key for key, info in BatchSpec.model_fields.items() if info.annotation == tuple[str, ...])
