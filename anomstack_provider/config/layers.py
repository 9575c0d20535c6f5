"""Where the value of a key can come from, and which of several wins.

From weakest to strongest: the package's defaults (they are the spec's own), the site's defaults, the folder's
``defaults.yaml``, the batch's file, ``ANOMSTACK_<KEY>`` for three keys, and ``ANOMSTACK__<BATCH>__<KEY>``.
A stronger layer replaces a key's whole value: mappings are not merged into each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from anomstack_provider.config.conflicts import SPELLINGS
from anomstack_provider.config.document import DocumentError, read_value
from anomstack_provider.config.explain import Path
from anomstack_provider.config.spec import LIST_KEYS

Kind = Literal["package", "site", "folder", "batch", "environment"]

# Anomstack's variables for all batches; the table a batch names itself beats its variable.
GLOBAL_VARIABLES = {
    "ANOMSTACK_MODEL_PATH": "model_path",
    "ANOMSTACK_TABLE_KEY": "table_key",
    "ANOMSTACK_GCP_PROJECT_ID": "gcp_project_id",
}
PREFIX = "ANOMSTACK__"

# Keys of which one can hold: a stronger layer that gives one takes away what weaker ones said of the other.
RIVALS: Mapping[str, str] = {
    **SPELLINGS,
    **{key: other for other, key in SPELLINGS.items()},
    "ingest_sql": "ingest_fn",
    "ingest_fn": "ingest_sql",
}

# Keys whose value is a mapping or a list of mappings, written as YAML where there is only text.
_STRUCTURED = {
    "alert_gates",
    "events",
    "holidays",
    "metric_settings",
    "metric_tags",
    "model_configs",
    "preprocess_params",
    "prometheus_queries",
    "tholdalert_thresholds",
}


@dataclass(frozen=True)
class Source:
    """
    Where a value was set.

    :param kind: the layer.
    :param name: a file relative to the metrics folder, the name of a variable, or of a config section.
    :param line: line in the file, counted from 1; None where there are no lines.
    """

    kind: Kind
    name: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return self.name if self.line is None else f"{self.name}:{self.line}"


PACKAGE = Source("package", "default of the package")


@dataclass(frozen=True)
class Layer:
    """Some keys with their values, all from one place; ``names`` has the place of a key that has its own."""

    kind: Kind
    name: str
    values: Mapping[str, Any]
    places: Mapping[Path, tuple[int, int]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)

    def source(self, path: Path) -> Source:
        """Return the place of the value at ``path``, or of the nearest thing around it that has one."""
        name = self.names.get(str(path[0]), self.name) if path else self.name
        for end in range(len(path), 0, -1):
            if place := self.places.get(path[:end]):
                return Source(self.kind, name, *place)
        return Source(self.kind, name)


@dataclass(frozen=True)
class Merged:
    """The values that hold, and for each of their keys the layer that set it."""

    values: dict[str, Any]
    layers: dict[str, Layer]


def merge(layers: Sequence[Layer]) -> Merged:
    """Return what holds when each layer goes over those before it."""
    merged = Merged({}, {})
    for layer in layers:
        for key, value in layer.values.items():
            rival = RIVALS.get(key)
            if rival is not None and value is not None and merged.layers.get(rival) not in (None, layer):
                del merged.values[rival], merged.layers[rival]
            merged.values[key], merged.layers[key] = value, layer
    return merged


def variable_name(metric_batch: str) -> str:
    """Return a batch's name as it stands in variables: upper case, all but letters and digits as ``_``."""
    return re.sub(r"\W", "_", metric_batch.upper())


def batch_variables(environ: Mapping[str, str], batches: Iterable[str]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """
    Sort the variables ``ANOMSTACK__<BATCH>__<KEY>``.

    Of two batches that a variable fits (``A`` and ``A__B``) it belongs to the one with the longer name.

    :return: {name of the batch as in variables: {variable: key}}, and the variables that fit no batch.
    """
    known = sorted({variable_name(batch) for batch in batches}, key=len, reverse=True)
    found: dict[str, dict[str, str]] = {}
    unclaimed = []
    for variable in sorted(name for name in environ if name.startswith(PREFIX)):
        rest = variable.removeprefix(PREFIX)
        owner = next((name for name in known if rest.startswith(f"{name}__")), None)
        if owner is None:
            unclaimed.append(variable)
        else:
            found.setdefault(owner, {})[variable] = rest.removeprefix(f"{owner}__").lower()
    return found, unclaimed


def batch_layer(environ: Mapping[str, str], variables: Mapping[str, str]) -> Layer:
    """Return the layer of one batch's own variables, given as {variable: key}."""
    values = {key: from_text(key, environ[variable]) for variable, key in variables.items()}
    names = {key: f"environment variable {variable}" for variable, key in variables.items()}
    return Layer("environment", "environment", values, names=names)


def global_layer(environ: Mapping[str, str], batch: Mapping[str, Any]) -> Layer:
    """Return the layer of the variables for all batches; a blank one is unset, ``batch`` keeps its table."""
    set_here = {key: name for name, key in GLOBAL_VARIABLES.items() if environ.get(name, "").strip()}
    if batch.get("table_key") is not None:
        set_here.pop("table_key", None)
    values = {key: environ[name] for key, name in set_here.items()}
    return Layer(
        "environment",
        "environment",
        values,
        names={k: f"environment variable {v}" for k, v in set_here.items()},
    )


def site_layer(site_defaults: Mapping[str, Any]) -> Layer:
    """Return the layer of the site's defaults; None is not set, text is read as in a variable."""
    values = {
        key: from_text(key, value) if isinstance(value, str) else value
        for key, value in site_defaults.items()
        if value is not None
    }
    return Layer("site", "section [anomstack] of the Airflow config", values)


def from_text(key: str, text: str) -> Any:
    """Return a value that was given as text; what needs no structure is left to the key's own type."""
    if key not in _STRUCTURED and not (text.lstrip().startswith("[") and key in LIST_KEYS):
        return text
    try:
        return read_value(text)
    except DocumentError:
        return text  # as text it is wrong for this key, and reported as such with its place
