"""
A folder's files in newer keys: the same batches, judged by recipe seasonal unless somebody chose models or features.

Pure: texts in, texts out. ``differences`` says why each key is replaced; what stands under another name, in quotes that
are not needed, or says what a default says anyway, is put plainly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import yaml

from anomstack_provider.config.conflicts import SPELLINGS
from anomstack_provider.config.crons import meant
from anomstack_provider.config.spec import SEASONAL_DEFAULTS, BatchSpec, check
from anomstack_provider.config.values import strip_quotes
from anomstack_provider.migrate.differences import NOTES, is_own_template

# What only recipe anomstack has, or has another scale for.
_MODELS = ("model_configs", "model_combination_method", "preprocess_fn", "preprocess_params")
_SCORES = ("alert_threshold", "alert_smooth_n")
_RESAMPLING = ("freq", "freq_agg")
_STEPS = ("score_cron_schedule", "alert_cron_schedule", "change_cron_schedule")
_FIRST = ("metric_batch", "description", "disable_batch", "schedule", "conn_id", "db", "table_key")
_LAST = ("metric_tags", "ingest_sql", "ingest_fn")


@dataclass(frozen=True)
class Rewritten:
    """
    The keys of one file anew.

    :param replaced: what became of keys that are not there any more, or not as they were: {key: sentence}.
    """

    values: dict[str, Any]
    replaced: dict[str, str] = field(default_factory=dict)


def chooses_models(values: Mapping[str, Any]) -> bool:
    """Whether a file says ``recipe: anomstack``, or gives models or features that are not Anomstack's defaults."""
    if values.get("recipe") == "anomstack":
        return True
    given = {key: values[key] for key in _MODELS if values.get(key) is not None and not is_own_template(values[key])}
    if isinstance(features := given.get("preprocess_params"), Mapping):
        given["preprocess_params"] = {key: value for key, value in features.items() if key not in _RESAMPLING}
    return any(_is_other(key, value) for key, value in given.items())


def rewrite(own: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> Rewritten:
    """
    Return the keys of a batch's file, or with ``defaults`` None those of the folder's ``defaults.yaml``, anew.

    :param defaults: the keys of the folder's ``defaults.yaml`` as they were.
    """
    of_folder = defaults is None
    others = {} if defaults is None else defaults
    folder_chose = chooses_models(others)
    keeps = folder_chose or chooses_models(own)
    values, replaced = dict(own), dict[str, str]()
    if keeps and not folder_chose:
        # The folder's defaults lose these when they are written anew.
        carried = {key: others[key] for key in (*_MODELS, *_SCORES, *SEASONAL_DEFAULTS) if key in others}
        values = {**{key: value for key, value in carried.items() if _is_other(key, value)}, **values}
    _leave_out_templates(values, replaced)
    if not keeps:
        _to_seasonal(values, replaced)
    for key in _STEPS:
        if key in values:
            replaced[key] = "left out: the step runs in the batch's DAG"
            del values[key]
    _mend_crons(values, replaced)
    _rename(values, replaced)
    for key in [key for key in values if key.endswith("_metrics") and values[key]]:
        values[key] = list(strip_quotes(_as_list(values[key])))
    if values.get("db") == "duckdb":
        del values["db"]
    dull: set[str] = set()
    if of_folder:
        dull = {key for key, value in values.items() if key in NOTES and not _is_other(key, value)}
    elif not keeps:
        told = set(rewrite(others).values)
        own_default = {key for key in SEASONAL_DEFAULTS if key in values and key in NOTES and key not in told}
        dull = {key for key in own_default if not _is_other(key, values[key])}
    if not keeps:
        for key in dull & SEASONAL_DEFAULTS.keys():
            replaced[key] = f"left out: recipe seasonal has a default of its own, {SEASONAL_DEFAULTS[key]}"
    values = {key: value for key, value in values.items() if key not in dull}
    if keeps and not folder_chose and "recipe" not in values:
        values["recipe"] = "anomstack"
    return Rewritten(_sorted(values), replaced)


def as_yaml(values: Mapping[str, Any]) -> str:
    """Return keys as YAML, texts of several lines as blocks."""
    return yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110) if values else ""


def _leave_out_templates(values: dict[str, Any], replaced: dict[str, str]) -> None:
    for key in [key for key, value in values.items() if is_own_template(value)]:
        replaced[key] = "left out: what Anomstack's own template is for is built in"
        del values[key]


def _to_seasonal(values: dict[str, Any], replaced: dict[str, str]) -> None:
    given = values.get("preprocess_params")
    resampling = {key: given[key] for key in _RESAMPLING if key in given} if isinstance(given, Mapping) else {}
    for key in _MODELS:
        if key in values:
            replaced[key] = "left out: recipe seasonal needs none"
            del values[key]
    if resampling.get("freq"):
        values["preprocess_params"] = resampling
        replaced["preprocess_params"] = "freq and freq_agg stay, recipe seasonal needs no more"
    if values.get("alert_threshold") is not None:
        replaced["alert_threshold"] = "left out: false_alarms_per_month, 1 unless given, takes its place"
    if "alert_smooth_n" in values:
        replaced["alert_smooth_n"] = "left out: recipe seasonal needs no smoothing"
    for key in _SCORES:
        values.pop(key, None)


def _rename(values: dict[str, Any], replaced: dict[str, str]) -> None:
    renamed = {other: key for other, key in SPELLINGS.items() if other != "schedule"}
    renamed["ingest_cron_schedule"] = "schedule"
    for old, new in renamed.items():
        if old in values:
            value = values.pop(old)
            values.setdefault(new, value)
            replaced[old] = f"{new}: {value}"


def _mend_crons(values: dict[str, Any], replaced: dict[str, str]) -> None:
    for key in [key for key in values if key.endswith("_cron_schedule") or key == "schedule"]:
        better = meant(values[key]) if isinstance(values[key], str) else None
        if better:
            replaced[key] = f"'{better}', as '{values[key]}' looks"
            values[key] = better


def _as_list(value: Any) -> tuple[str, ...]:
    return tuple(value.split(",")) if isinstance(value, str) else tuple(value)


def _sorted(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys with the batch's name first and its query last."""
    rest = [key for key in values if key not in _FIRST and key not in _LAST]
    return {key: values[key] for key in (*_FIRST, *rest, *_LAST) if key in values}


def _is_other(key: str, value: Any) -> bool:
    """Whether a value is another than Anomstack's default."""
    name = SPELLINGS.get(key, key)
    if name == "metric_batch":
        return True
    spec, _ = check({"metric_batch": "x", "disable_ingest": True, "recipe": "anomstack", name: value})
    return spec is None or bool(getattr(spec, name) != getattr(_default(), name))


@cache
def _default() -> BatchSpec:
    return BatchSpec.model_validate({"metric_batch": "x", "disable_ingest": True, "recipe": "anomstack"})


class _Dumper(yaml.SafeDumper):
    """YAML as people write it."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)
