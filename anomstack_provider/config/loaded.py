"""What loading a metrics folder results in: batches that can run, and mistakes with their places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anomstack_provider.config.errors import BatchError, ConfigError
from anomstack_provider.config.explain import nearest
from anomstack_provider.config.layers import PACKAGE, Source
from anomstack_provider.config.spec import BatchSpec


@dataclass(frozen=True)
class LoadedBatch:
    """
    One batch that can run.

    :param path: its file, relative to the metrics folder.
    :param raw: the keys that were set, with their values as written; no defaults of the package.
    :param provenance: where each of these keys was set.
    :param lines: line of each key in the batch's own file, counted from 1.
    :param warnings: what is accepted but probably not meant, each with its place.
    """

    spec: BatchSpec
    path: str
    raw: Mapping[str, Any]
    provenance: Mapping[str, Source]
    lines: Mapping[str, int]
    warnings: tuple[str, ...] = ()

    @property
    def disabled(self) -> bool:
        """Whether the batch is switched off as a whole: loaded, but no DAG is to be made of it."""
        return self.spec.disable_batch

    def source(self, key: str) -> Source:
        """Return where the value of ``key`` comes from."""
        return self.provenance.get(key, PACKAGE)


@dataclass(frozen=True)
class LoadedFolder:
    """
    What a metrics folder holds; no batch has both an entry in ``batches`` and one in ``errors``.

    :param metrics_dir: the folder as it was given.
    :param batches: the batches that can run, by name, in the order of their files.
    :param errors: every mistake found, in the order of the files.
    :param warnings: what concerns no single batch.
    """

    metrics_dir: Path
    batches: dict[str, LoadedBatch] = field(default_factory=dict)
    errors: list[BatchError] = field(default_factory=list)
    warnings: tuple[str, ...] = ()

    @property
    def broken(self) -> dict[str, list[BatchError]]:
        """The mistakes of each batch that cannot run, by its name."""
        found: dict[str, list[BatchError]] = {}
        for error in self.errors:
            found.setdefault(error.metric_batch, []).append(error)
        return found

    @property
    def warned(self) -> dict[str, list[str]]:
        """The batches that have each warning, by name: what defaults say all that use them have in common."""
        found: dict[str, list[str]] = {}
        for name, batch in self.batches.items():
            for warning in batch.warnings:
                found.setdefault(warning, []).append(name)
        return found

    def batch(self, metric_batch: str) -> LoadedBatch:
        """Return one batch; raises :class:`ConfigError` with its mistakes, or with the name most like it."""
        if metric_batch in self.batches:
            return self.batches[metric_batch]
        if mistakes := self.broken.get(metric_batch):
            raise ConfigError(mistakes)
        hint = nearest(metric_batch, self.batches) or "; check metric_batch in its file"
        message = f"no batch of this folder is named '{metric_batch}'{hint}"
        raise ConfigError([BatchError(metric_batch, str(self.metrics_dir), None, None, None, message)])
