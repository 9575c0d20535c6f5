"""The text about a batch that the UI shows beside its DAG."""

from __future__ import annotations

import json

from anomstack_provider.config.loader import LoadedBatch


def batch_doc(batch: LoadedBatch) -> str:
    """Return Markdown: what the batch is, its query, the settings that its files make, and warnings."""
    spec = batch.spec
    parts = [f"### {spec.metric_batch}", spec.description or "", f"From `{batch.path}`."]
    parts += [f"> {warning}" for warning in batch.warnings]
    for language, text in (("sql", spec.ingest_sql), ("python", spec.ingest_fn)):
        if text:
            parts.append(f"{_fence(text)}{language}\n{text.rstrip()}\n{_fence(text)}")
    settings = [
        f"| `{key}` | {_cell(batch.raw.get(key, getattr(spec, key)))} | {layer} |"
        for key, layer in sorted(batch.provenance.items())
        if key in type(spec).model_fields and key not in ("metric_batch", "description", "ingest_sql", "ingest_fn")
    ]
    if settings:
        parts.append("\n".join(["| setting | value | set by |", "| --- | --- | --- |", *settings]))
    return "\n\n".join(part for part in parts if part)


def _fence(text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return fence


def _cell(value: object) -> str:
    """Return a value as YAML has it on one line, and not as Python shows it."""
    text = (
        json.dumps(value, ensure_ascii=False, default=str)
        if isinstance(value, list | tuple | dict | bool)
        else str(value)
    )
    text = text.replace("\n", " ").replace("|", "\\|")
    return f"`{text if len(text) <= 120 else text[:117] + '...'}`" if text else ""
