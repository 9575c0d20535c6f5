"""A metrics folder on disk to write files into and to load."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from anomstack_provider.config.loader import LoadedFolder, load_batches


@dataclass(frozen=True)
class MetricsFolder:
    root: Path

    def write(self, path: str, content: str | bytes) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    def batch(self, path: str, name: str, **keys: object) -> Path:
        """Write a batch that loads; ``keys`` are written as they are, one line each."""
        lines = [
            f"metric_batch: {name}",
            "ingest_sql: select 1",
            *(f"{key}: {value}" for key, value in keys.items()),
        ]
        return self.write(path, "\n".join(lines) + "\n")

    def load(
        self,
        environ: Mapping[str, str] | None = None,
        site: Mapping[str, Any] | None = None,
        only: str | None = None,
    ) -> LoadedFolder:
        return load_batches(self.root, site_defaults=site, environ=environ or {}, only=only)

    def errors(self, environ: Mapping[str, str] | None = None, site: Mapping[str, Any] | None = None) -> list[str]:
        """Return the errors as people read them."""
        return [str(error) for error in self.load(environ, site).errors]


@pytest.fixture
def folder(tmp_path: Path) -> MetricsFolder:
    root = tmp_path / "metrics"
    root.mkdir()
    return MetricsFolder(root)


@pytest.fixture
def errors_of(folder: MetricsFolder) -> Callable[[str | bytes], list[str]]:
    """Return what is said about a folder whose only file, a.yaml, has this content."""

    def load(content: str | bytes) -> list[str]:
        folder.write("a.yaml", content)
        return folder.errors()

    return load
