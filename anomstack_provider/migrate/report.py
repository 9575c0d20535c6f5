"""What a folder uses of Anomstack's keys, and what of it means something else here: pure, and text for people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from anomstack_provider.config.loaded import LoadedBatch, LoadedFolder
from anomstack_provider.config.values import shown
from anomstack_provider.migrate.differences import DIFFERENCES, NOTES, Difference
from anomstack_provider.migrate.rewrite import rewrite


@dataclass(frozen=True)
class KeyUse:
    """
    One key that a batch's file, the folder's defaults or a variable gives.

    :param place: file and line, or the variable.
    :param here: what it does here where that is not just what it says; empty if it is.
    :param instead: what does it better.
    :param written: what ``--write`` makes of it; empty if it stays.
    """

    key: str
    value: str
    place: str
    here: str
    instead: str
    written: str


@dataclass(frozen=True)
class BatchReport:
    """What one batch uses: its own keys, and the differences that concern it."""

    name: str
    path: str
    is_disabled: bool
    recipe: str
    uses: tuple[KeyUse, ...]
    differences: tuple[Difference, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class FolderReport:
    """Every batch that loads, the folder's defaults, and what is broken."""

    batches: tuple[BatchReport, ...]
    defaults: tuple[KeyUse, ...]
    errors: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def concerned(self) -> Iterator[tuple[Difference, list[str]]]:
        """Yield each difference that concerns a batch with the names of all that it does, in the order of the table."""
        for one in DIFFERENCES:
            if names := [batch.name for batch in self.batches if one in batch.differences]:
                yield one, names


def report(folder: LoadedFolder, defaults: Mapping[str, Any]) -> FolderReport:
    """
    Return what the folder uses.

    :param defaults: keys of the folder's ``defaults.yaml`` as written.
    """
    shared: dict[str, KeyUse] = {}
    batches = []
    of_folder = rewrite(defaults).replaced
    for name, batch in folder.batches.items():
        own = {key: value for key, value in batch.raw.items() if batch.source(key).kind == "batch"}
        replaced = rewrite(own, defaults).replaced
        for key in batch.raw:
            if batch.source(key).kind == "folder":
                shared.setdefault(key, _use(batch, key, of_folder))
        uses = tuple(
            _use(batch, key, replaced) for key in batch.raw if batch.source(key).kind in ("batch", "environment")
        )
        concerned = () if batch.disabled else tuple(one for one in DIFFERENCES if one.concerns(batch))
        batches.append(
            BatchReport(name, batch.path, batch.disabled, str(batch.spec.recipe), uses, concerned, batch.warnings)
        )
    return FolderReport(
        tuple(batches), tuple(shared.values()), tuple(str(error) for error in folder.errors), folder.warnings
    )


def _use(batch: LoadedBatch, key: str, replaced: Mapping[str, str]) -> KeyUse:
    note = NOTES.get(key)
    here = "" if note is None else note.here
    source = batch.source(key)
    written = f"not in the files, change {source}" if source.kind == "environment" else replaced.get(key, "")
    return KeyUse(key, _short(batch.raw[key]), str(source), here, "" if note is None else note.instead, written)


def _short(value: Any) -> str:
    text = " ".join(value.split()) if isinstance(value, str) else shown(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def as_text(found: FolderReport) -> str:
    """Return the report for a terminal."""
    lines: list[str] = []
    shared = set.intersection(*(set(batch.warnings) for batch in found.batches)) if found.batches else set()
    for batch in found.batches:
        disabled = ", disabled" if batch.is_disabled else ""
        lines += [f"{batch.name} ({batch.path}): recipe {batch.recipe}{disabled}", *_used(batch.uses)]
        lines += [f"  warning: {text}" for text in batch.warnings if text not in shared]
        lines.append("")
    if found.defaults or shared:
        lines += ["all batches", *_used(found.defaults)]
        lines += [f"  warning: {text}" for text in sorted(shared)]
        lines.append("")
    concerned = list(found.concerned())
    if concerned:
        lines.append("What means something else here")
    for one, names in concerned:
        which = "every batch" if len(names) == sum(not b.is_disabled for b in found.batches) else ", ".join(names)
        lines += [f"  {one.title} ({which})", f"    Anomstack: {one.was}", f"    here:      {one.now}"]
    lines += [f"warning {text}" for text in found.warnings]
    lines += [f"error   {text}" for text in found.errors]
    return "\n".join(lines).rstrip()


def to_json(found: FolderReport) -> dict[str, Any]:
    """Return the report for a program."""
    return {
        "batches": [
            {
                "name": batch.name,
                "path": batch.path,
                "disabled": batch.is_disabled,
                "recipe": batch.recipe,
                "keys": [asdict(use) for use in batch.uses],
                "warnings": list(batch.warnings),
            }
            for batch in found.batches
        ],
        "defaults": [asdict(use) for use in found.defaults],
        "differences": [
            {"title": one.title, "anomstack": one.was, "here": one.now, "batches": names}
            for one, names in found.concerned()
        ],
        "warnings": list(found.warnings),
        "errors": list(found.errors),
    }


def _used(uses: Sequence[KeyUse]) -> Iterator[str]:
    """Yield a line of the keys that there is nothing to say of, then the others with what there is."""
    plain = [use.key for use in uses if not (use.instead or use.written)]
    if plain:
        yield from textwrap.wrap(f"as it is: {', '.join(plain)}", 110, initial_indent="  ", subsequent_indent="    ")
    for use in uses:
        if use.key not in plain:
            yield f"  {use.key}: {use.value}"
            for label, text in (("here", use.here), ("better", use.instead), ("written", use.written)):
                if text:
                    yield f"      {label + ':':8} {text}"
