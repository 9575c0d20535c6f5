"""A metrics folder -> one validated batch per file, and every mistake with its place.

A mistake in one file never stops the others: what cannot be loaded is an entry of ``LoadedFolder.errors``
under the name of its batch, so that a stub can stand in its place. Nothing here renders SQL or connects.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anomstack_provider.config.batch_file import BatchFile, plain_name, read_batch, read_file
from anomstack_provider.config.cautions import cautions
from anomstack_provider.config.document import DocumentError, decode, read_mapping
from anomstack_provider.config.errors import BatchError
from anomstack_provider.config.explain import Problem
from anomstack_provider.config.folder import Files, find_files, printable
from anomstack_provider.config.inline import inline_calendars
from anomstack_provider.config.layers import (
    PACKAGE,
    Layer,
    Merged,
    Source,
    batch_layer,
    batch_variables,
    global_layer,
    merge,
    site_layer,
    variable_name,
)
from anomstack_provider.config.loaded import LoadedBatch, LoadedFolder
from anomstack_provider.config.spec import TEXT_KEYS, check

__all__ = ["BatchError", "LoadedBatch", "LoadedFolder", "Source", "load_batches"]

_NOT_A_BATCH = "names one batch; give it in the batch's own file"


def load_batches(
    metrics_dir: str | os.PathLike[str],
    *,
    site_defaults: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    only: str | None = None,
) -> LoadedFolder:
    """
    Load every batch of a metrics folder; what stands in the folder or the variables never makes it raise.

    :param site_defaults: values of Airflow's ``[anomstack]`` section by key; text is read as in a variable.
    :param environ: environment variables; None is those of the process.
    :param only: name of the one batch that is wanted. The others are read only as far as needed to find it,
        and neither they nor their mistakes are in the result.
    """
    root = Path(metrics_dir)
    environ = os.environ if environ is None else environ
    if not root.is_dir():
        message = "there is no such folder; create it, or set metrics_dir to the right one"
        return LoadedFolder(root, errors=[BatchError(only or "metrics folder", str(root), None, None, None, message)])
    ignore_examples = environ.get("ANOMSTACK_IGNORE_EXAMPLES", "").strip().lower() in ("yes", "true", "1")
    files = find_files(root, ignore_examples=ignore_examples)
    read, passed = _read_batches(root, files, only)
    shared = _Shared(
        root,
        site_layer(site_defaults or {}),
        _folder_layer(root, files.defaults),
        printable(files.defaults or ""),
        environ,
    )

    by_name = _by_name(read)
    variables, unclaimed = batch_variables(environ, [*by_name, *passed])
    errors = [
        BatchError(printable(path), printable(path), None, None, None, message) for path, message in files.unreadable
    ]
    batches: dict[str, LoadedBatch] = {}
    for name, sharing in by_name.items():
        if only in (None, name):
            for file in sharing:
                loaded = _load(name, file, sharing, shared, variables.get(variable_name(name), {}))
                if isinstance(loaded, LoadedBatch):
                    batches[name] = loaded
                else:
                    errors += loaded
    if isinstance(shared.folder, DocumentError) and not by_name:
        errors.append(_document_error(shared.folder_path, shared.folder_path, shared.folder))
    if only is not None:
        return LoadedFolder(root, batches, [error for error in errors if error.metric_batch == only])
    return LoadedFolder(root, batches, errors, _warnings(files, unclaimed))


@dataclass(frozen=True)
class _Shared:
    """What all batches of a folder have in common; ``folder`` is an error if its defaults cannot be read."""

    root: Path
    site: Layer
    folder: Layer | DocumentError
    folder_path: str
    environ: Mapping[str, str]


def _read_batches(root: Path, files: Files, only: str | None) -> tuple[list[BatchFile], list[str]]:
    """Read the files; with ``only``, pass by those that are plainly other batches, and return their names."""
    read, passed = [], []
    for path in files.batches:
        try:
            content = read_file(root, path)
        except DocumentError as error:
            read.append(BatchFile(path, None, error=error))
            continue
        plain = None if only is None else plain_name(content)
        if plain is None or plain == only:
            read.append(read_batch(content, path))
        else:
            passed.append(plain)
    if passed and not any(file.name == only for file in read):
        return _read_batches(root, files, None)  # no plain line has the name; it may be written in some other way
    return read, passed


def _by_name(read: Sequence[BatchFile]) -> dict[str, list[BatchFile]]:
    """Sort the files by batch; one without a name, or with a guessed name that another has, by its path."""
    counts: dict[str | None, int] = {}
    for file in read:
        counts[file.name] = counts.get(file.name, 0) + 1
    found: dict[str, list[BatchFile]] = {}
    for file in read:
        unsure = file.name is None or (file.guessed and counts[file.name] > 1)
        found.setdefault(printable(file.path) if unsure or file.name is None else file.name, []).append(file)
    return found


def _folder_layer(root: Path, path: str | None) -> Layer | DocumentError:
    """Return the folder's defaults, or what is wrong with their file as a whole."""
    if path is None:
        return Layer("folder", "", {})
    try:
        text = decode(read_file(root, path))
        if all(not line.strip() or line.lstrip().startswith("#") for line in text.splitlines()):
            return Layer("folder", printable(path), {})  # comments alone set nothing
        document = read_mapping(text, TEXT_KEYS)
    except DocumentError as error:
        return error
    return Layer("folder", printable(path), document.values, document.places)


def _load(
    name: str, file: BatchFile, sharing: Sequence[BatchFile], shared: _Shared, variables: Mapping[str, str]
) -> LoadedBatch | list[BatchError]:
    """Return one batch, or every mistake in it."""
    path = printable(file.path)
    own = file.layer
    if own is None:
        return [_document_error(name, path, file.error or DocumentError("cannot be read"))]
    if len(sharing) > 1:
        others = ", ".join(printable(other.path) for other in sharing if other is not file)
        message = f"'{name}' is the name of the batch in {others} too; give each batch its own"
        return [_error(name, own.source(("metric_batch",)), "metric_batch", message)]
    if isinstance(shared.folder, DocumentError):
        return [_document_error(name, shared.folder_path, shared.folder)]
    environ = shared.environ
    layers = [
        shared.site,
        shared.folder,
        own,
        global_layer(environ, own.values),
        batch_layer(environ, variables),
    ]
    misnamed = [layer for layer in layers if layer is not own and "metric_batch" in layer.values]
    if misnamed:
        return [_error(name, layer.source(("metric_batch",)), "metric_batch", _NOT_A_BATCH) for layer in misnamed]
    merged = merge(layers)
    values, unread = inline_calendars(shared.root, file.path, merged)
    spec, problems = check(values)
    if spec is None or unread:
        said = {problem.path for problem in unread}
        problems = [*unread, *(problem for problem in problems if problem.path not in said)]
        return [_located(problem, name, merged, layers, own) for problem in problems]
    spec = spec.placed(str(shared.root), merged.values)
    provenance = {key: layer.source((key,)) for key, layer in merged.layers.items()}
    warnings = tuple(f"{provenance.get(key, PACKAGE)}: {key}: {text}" for key, text in cautions(spec))
    lines = {str(place[0]): position[0] for place, position in own.places.items() if len(place) == 1}
    return LoadedBatch(spec, path, merged.values, provenance, lines, warnings)


def _located(problem: Problem, name: str, merged: Merged, layers: Sequence[Layer], own: Layer) -> BatchError:
    """Return a mistake with the place to mend it: of the keys it is about, the one that was set last."""
    paths = [problem.path, *((other,) for other in problem.others)]
    set_here = [(merged.layers[str(path[0])], path) for path in paths if path and path[0] in merged.layers]
    if not set_here:
        return _error(name, own.source(("metric_batch",)), problem.key, problem.message)
    layer, path = max(set_here, key=lambda item: (layers.index(item[0]), item[0].source(item[1]).line or 0))
    return _error(name, layer.source(path), Problem(path, "").key, problem.message)


def _document_error(name: str, path: str, error: DocumentError) -> BatchError:
    return BatchError(name, path, error.line, error.column, error.key, error.message)


def _error(name: str, source: Source, key: str | None, message: str) -> BatchError:
    return BatchError(name, source.name, source.line, source.column, key, message)


def _warnings(files: Files, unclaimed: Sequence[str]) -> tuple[str, ...]:
    """Return what concerns no single batch: files and variables that nothing reads."""

    def found() -> Iterator[str]:
        for path in files.unused:
            place = files.defaults or "defaults/defaults.yaml"
            yield f"{printable(path)}: is not read; the folder's defaults are {place}"
        for name in unclaimed:
            yield f"environment variable {name}: is not read; no batch has this name"

    return tuple(found())
