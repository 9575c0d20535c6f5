"""What is made of the declared keys: JSON Schema for editors, a file of all defaults, tables of keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic.fields import FieldInfo

from anomstack_provider.config.keys import SECTIONS
from anomstack_provider.config.spec import BatchSpec

_KINDS = {
    "anomstack-cron": "cron or preset",
    "anomstack-duration": "duration",
    "anomstack-freshness": "`auto`, `off` or duration",
    "anomstack-grain": "bucket length",
    "anomstack-moment": "date or date and time",
    "anomstack-quiet-hours": "time of day, from-to",
    "anomstack-timezone": "time zone",
}
_JSON_KINDS = {
    "array": "list",
    "boolean": "true or false",
    "integer": "whole number",
    "number": "number",
    "object": "mapping",
    "string": "text",
}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a batch's file, keys in the order of the docs."""
    schema = BatchSpec.model_json_schema()
    defaults = _defaults()
    properties = {}
    for _, key, _ in _keys():
        properties[key] = {"title": key.replace("_", " ").title(), **schema["properties"][key]}
        if key in defaults:
            properties[key]["default"] = defaults[key]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": schema["title"],
        "description": "One metric batch: what it measures, when it runs, how it is judged, whom it tells.",
        "type": "object",
        "properties": properties,
        "required": schema["required"],
        "additionalProperties": False,
        "$defs": schema["$defs"],
    }


def defaults_yaml() -> str:
    """Return commented YAML of every key with its default, fit to be a folder's ``defaults.yaml``."""
    lines = [
        "# Every key of a batch with its default. Made from the declared keys, for reading: a copy of it,",
        "# or of some of its lines, can stand in a metrics folder as defaults/defaults.yaml.",
        "# Only metric_batch has no default: it names one batch and belongs in that batch's own file.",
    ]
    defaults = _defaults()
    heading = ""
    for section, key, info in _keys():
        if key not in defaults:
            continue
        if section != heading:
            heading = section
            lines += ["", f"# {heading}"]
        lines += ["", f"# {info.description}", _yaml_entry(key, defaults[key])]
    return "\n".join(lines) + "\n"


def key_table() -> str:
    """Return Markdown tables of every key, one for each subject: key, type, default, what it does."""
    properties = json_schema()["properties"]
    defaults = _defaults()
    lines: list[str] = []
    heading = ""
    for section, key, info in _keys():
        if section != heading:
            heading = section
            lines += [
                "",
                f"### {heading}",
                "",
                "| key | type | default | what it does |",
                "|---|---|---|---|",
            ]
        default = "needed" if key not in defaults else _cell(defaults[key])
        lines.append(f"| `{key}` | {_kind(properties[key])} | {default} | {info.description} |")
    return "\n".join(lines[1:]) + "\n"


def _keys() -> Iterator[tuple[str, str, FieldInfo]]:
    """Yield (subject, key, declaration) of every key in the order of the docs."""
    for section in SECTIONS:
        for key in section.model_fields:
            yield str(section.__doc__), key, BatchSpec.model_fields[key]


def _defaults() -> dict[str, Any]:
    """Return the default of every key that has one, as plain JSON values."""
    bare = BatchSpec(metric_batch="x", disable_ingest=True).model_dump(mode="json")
    switched = {"disable_ingest": BatchSpec.model_fields["disable_ingest"].default}
    return {**{key: value for key, value in bare.items() if key != "metric_batch"}, **switched}


def _yaml_entry(key: str, value: Any) -> str:
    if isinstance(value, list | dict) and value and not all(isinstance(entry, str) for entry in value):
        return f"{key}:\n" + yaml.safe_dump(value, sort_keys=False, indent=2).rstrip()
    if isinstance(value, dict) and value:
        return f"{key}:\n" + "\n".join(f"  {name}: {json.dumps(entry)}" for name, entry in value.items())
    return f"{key}: {json.dumps(value)}"


def _cell(value: Any) -> str:
    if value is None or value in ([], {}):
        return "unset" if value is None else "empty"
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        return f"`{', '.join(value)}`"
    text = value if isinstance(value, str) else json.dumps(value)
    return f"`{text}`"


def _kind(schema: dict[str, Any]) -> str:
    """Return the type of a key in words."""
    choices = [choice for choice in schema.get("anyOf", [schema]) if choice.get("type") != "null"]
    listed = next((choice for choice in choices if choice.get("type") == "array"), None)
    if listed is not None:
        return "list of text" if listed.get("items", {}).get("type") == "string" else "list"
    only = choices[0]
    if "enum" in only:
        return "one of " + ", ".join(f"`{choice}`" for choice in only["enum"] if choice is not None)
    if "$ref" in only:
        return "mapping"
    if "format" in only:
        return _KINDS[only["format"]]
    return _JSON_KINDS[only["type"]]
