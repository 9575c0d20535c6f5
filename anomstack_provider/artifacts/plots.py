"""Where a batch's newest plot is kept: one picture beside the models, put in the place of the one before."""

from __future__ import annotations

from anomstack_provider.artifacts.files import Files
from anomstack_provider.artifacts.key import quote_batch


def save_plot(files: Files, metric_batch: str, picture: bytes) -> str:
    """Keep a picture; return its path for a person to find."""
    path = _path(metric_batch)
    files.replace(path, picture)
    return files.path(path)


def load_plot(files: Files, metric_batch: str) -> bytes | None:
    """Return the picture that is kept; None if there is none."""
    return files.read(_path(metric_batch))


def _path(metric_batch: str) -> str:
    return f"plots/{quote_batch(metric_batch)}/latest.png"
