"""One file of a metrics folder: its text, its name as a batch, and its keys with their places."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from anomstack_provider.config.document import DocumentError, decode, read_mapping
from anomstack_provider.config.folder import printable
from anomstack_provider.config.layers import Layer
from anomstack_provider.config.spec import TEXT_KEYS
from anomstack_provider.config.values import shown

LONGEST_NAME = 200

# A line `metric_batch: name` that means what it shows: nothing escaped, folded, aliased, or continued in the
# next line.
_PLAIN_NAME = re.compile(
    rb"""^metric_batch[ ]*:[ ]+(["']?)([^\s"'\\&*!|>%@`{}\[\],#?:-][^"'\\{}\[\],#:\r\n]*)\1"""
    rb"""[ ]*(?:(?<=[ ])\#[^\r\n]*)?"""
    rb"""(?=(?:[ \t]*\r?\n)+\S|\s*\Z)""",
    re.MULTILINE,
)


@dataclass(frozen=True)
class BatchFile:
    """
    One file as read.

    :param path: relative to the metrics folder.
    :param name: the batch's name; None where it could not be read.
    :param layer: the keys; None if ``error`` says why there are none.
    :param guessed: whether the name was guessed from the text of a file that is not YAML.
    """

    path: str
    name: str | None
    layer: Layer | None = None
    error: DocumentError | None = None
    guessed: bool = False


def read_file(root: Path, path: str) -> bytes:
    """Return the content of a file of the folder; raises :class:`DocumentError` if that cannot be had."""
    try:
        return (root / path).read_bytes()
    except OSError as error:
        raise DocumentError(f"cannot be read ({error.strerror}); check its permissions") from None


def read_layer(content: bytes, path: str) -> Layer:
    """Return the keys of a batch's file; raises :class:`DocumentError` if it is no mapping."""
    document = read_mapping(decode(content), TEXT_KEYS)
    return Layer("batch", printable(path), document.values, document.places)


def read_batch(content: bytes, path: str) -> BatchFile:
    """Return a file with its keys, or with what is wrong with it."""
    try:
        layer = read_layer(content, path)
    except DocumentError as error:
        guess = plain_name(content)
        return BatchFile(path, guess, error=error, guessed=guess is not None)
    name = layer.values.get("metric_batch")
    if isinstance(name, str) and name.strip() and len(name) <= LONGEST_NAME:
        return BatchFile(path, name, layer)
    return BatchFile(path, None, error=_nameless(layer))


def plain_name(content: bytes) -> str | None:
    """Return a batch's name where it can be told without parsing; None leaves it to the parser."""
    if content.count(b"metric_batch") != 1:
        return None
    match = _PLAIN_NAME.search(content)
    try:
        name = match[2].decode().rstrip() if match else ""
    except UnicodeDecodeError:
        return None
    return name if 0 < len(name) <= LONGEST_NAME else None


def _nameless(layer: Layer) -> DocumentError:
    """Say why a mapping has no name as a batch."""
    if "metric_batch" not in layer.values:
        near = get_close_matches("metric_batch", layer.values, n=1)
        if near:
            source = layer.source((near[0],))
            return DocumentError("unknown key; did you mean 'metric_batch'?", source.line, source.column, near[0])
        return DocumentError("is missing; name the batch, such as metric_batch: sales", 1, 1, "metric_batch")
    source, name = layer.source(("metric_batch",)), layer.values["metric_batch"]
    if name is None or (isinstance(name, str) and not name.strip()):
        message = "is empty; name the batch, such as metric_batch: sales"
    elif isinstance(name, str):
        message = f"has {len(name)} characters; a name may have {LONGEST_NAME}"
    else:
        message = f"expected text, got {shown(name)}"
    return DocumentError(message, source.line, source.column, "metric_batch")
