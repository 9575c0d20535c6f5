"""The validated configuration of one batch: all keys together, the rules between them, and its hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import ConfigDict, PrivateAttr, ValidationError, ValidationInfo, field_validator, model_validator

from anomstack_provider.config import keys, overrides
from anomstack_provider.config.about import About
from anomstack_provider.config.conflicts import SPELLINGS, conflicts
from anomstack_provider.config.crons import cron_expression
from anomstack_provider.config.explain import CrossCheckError, Problem, explain
from anomstack_provider.config.gates import Gates, named
from anomstack_provider.config.keys import ModelConfig, PreprocessParams, Threshold
from anomstack_provider.config.values import as_utc

__all__ = [
    "LIST_KEYS",
    "TEXT_KEYS",
    "BatchSpec",
    "ModelConfig",
    "PreprocessParams",
    "Threshold",
    "check",
]

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


@dataclass(frozen=True)
class _Place:
    """Where the includes of a batch's templates begin, and its keys as written; no part of what a batch is."""

    metrics_dir: str = field(default=".", compare=False)
    written: Mapping[str, Any] = field(default_factory=dict, compare=False)


class BatchSpec(keys.Keys):
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
        problems = list(conflicts(self))
        if problems:
            raise CrossCheckError(problems)
        return self

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
        return bool(getattr(self, f"disable_{job}")) or job in self.stopped

    @property
    def switched_off(self) -> list[str]:
        """The keys that keep a live run from alerting on scores."""
        found = [key for key in ("disable_batch", "disable_alert") if getattr(self, key)]
        return [*found, *(["alert_default_schedule_status"] if "alert" in self.stopped else [])]

    @property
    def is_silent(self) -> bool:
        """Whether a live run alerts on nothing at all; with alerts on scores off, thresholds and changes may be on."""
        return self.disable_batch or not self.finds

    @property
    def stopped(self) -> frozenset[str]:
        """The jobs that ``*_default_schedule_status`` leaves out."""
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

        context = {**self.names(), **(names or {})}
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

    def names(self) -> dict[str, Any]:
        """Return :meth:`context` for a template, which may ask for the keys that have no value."""
        from anomstack_provider.config.templating import unset

        return {**{key: unset(key) for key in type(self).model_fields}, **self.context()}

    @property
    def cron(self) -> str:
        """The schedule as a cron of five fields, presets written out."""
        return cron_expression(self.ingest_cron_schedule)

    def is_changed(self, key: str) -> bool:
        """Whether the batch has another value than that of a batch that says nothing."""
        return bool(getattr(self, key) != type(self).model_fields[key].get_default(call_default_factory=True))

    @property
    def table_conn_id(self) -> str | None:
        """The connection of the metrics table; None for the built-in DuckDB file."""
        return self.metrics_conn_id or self.conn_id

    def config_facts(self) -> dict[str, Any]:
        """Return the keys that determine a model, as plain JSON values."""
        facts: dict[str, Any] = self.model_dump(mode="json", include=set(_MODEL_KEYS))
        facts["completeness_delay"] = self.completeness_delay.total_seconds()
        shaping = {key: [entry for entry in getattr(self, key) if entry.changes_models] for key in keys.CALENDAR_KEYS}
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
