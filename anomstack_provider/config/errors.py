"""What goes wrong with a configuration: a place (file, line, key) and a sentence that says what to do.

``BatchError`` is a value that the loader collects, one per mistake; ``ConfigError`` is what code raises that
cannot go on without the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class BatchError:
    """
    One mistake in the configuration of one batch.

    :param metric_batch: name of the batch; for a file whose name could not be read, a name made of its path.
    :param path: where to mend it: a file relative to the metrics folder, a variable or a section of a config.
    :param line: line in that file, counted from 1; None where the place has no lines.
    :param column: column in that line, counted from 1.
    :param key: the key, dotted below the top level (``preprocess_params.lags_n``); None if there is none.
    :param message: what was found, what was expected and what to do.
    """

    metric_batch: str
    path: str
    line: int | None
    column: int | None
    key: str | None
    message: str

    def __str__(self) -> str:
        place = self.path if self.line is None else f"{self.path}:{self.line}"
        return ": ".join(part for part in (place, self.key, self.message) if part)


class ConfigError(Exception):
    """A configuration that cannot be used; ``errors`` holds every mistake found, the message all of them."""

    def __init__(self, errors: Sequence[BatchError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(str(error) for error in self.errors))

    def __reduce__(self) -> tuple[type[ConfigError], tuple[tuple[BatchError, ...]]]:
        return type(self), (self.errors,)


class TemplateError(Exception):
    """A Jinja template that cannot be rendered; the message names file, key, line and cause."""
