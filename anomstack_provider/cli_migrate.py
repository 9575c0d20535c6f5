"""``anomstack migrate``: what an Anomstack folder uses, the folder in newer keys, the rows of an Anomstack table."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anomstack_provider.config.loaded import LoadedFolder


def add_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to those of ``anomstack``."""
    migrate = commands.add_parser(
        "migrate",
        parents=[common],
        help="say what a folder written for Anomstack uses, write it in newer keys, or copy a table",
        description="An Anomstack folder runs as it is. This says what of it means something else here, and why. "
        "Exit code 1 if a file is broken.",
    )
    migrate.add_argument("folder", metavar="FOLDER", nargs="?", help="the metrics folder; default: --metrics-dir")
    migrate.add_argument("--output", choices=("text", "json"), default="text", help="form of the report")
    migrate.add_argument("--write", metavar="OUT", type=Path, help="new folder to write it to in newer keys")
    migrate.add_argument(
        "--table",
        metavar="CONN_ID/TABLE",
        help="copy the rows of a table that Anomstack wrote into the tables of the folder's batches",
    )
    migrate.add_argument(
        "--batch", metavar="NAME", action="append", help="with --table: only this one; may be repeated"
    )
    migrate.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from anomstack_provider.wiring.batches import load_folder

    if arguments.folder and arguments.metrics_dir:
        raise ValueError("name the folder once: FOLDER or --metrics-dir")
    if arguments.table and arguments.write:
        raise ValueError("--write and --table are two things: run one after the other")
    if arguments.batch and not arguments.table:
        raise ValueError("--batch goes with --table")
    folder = load_folder(arguments.folder or arguments.metrics_dir)
    if arguments.table:
        return _copy(folder, arguments.table, arguments.batch)
    return _report(folder, arguments.write, arguments.output)


def _report(folder: LoadedFolder, target: Path | None, output: str) -> int:
    from anomstack_provider.config.document import DocumentError
    from anomstack_provider.migrate.folder import folder_defaults, write_folder
    from anomstack_provider.migrate.report import as_text, report, to_json

    try:
        defaults = folder_defaults(folder.metrics_dir)[1]
    except DocumentError:
        defaults = {}  # the folder's errors say so
    found = report(folder, defaults)
    print(json.dumps(to_json(found), indent=2) if output == "json" else as_text(found))
    if folder.errors:
        if target is not None:
            print("nothing is written while a file is broken", file=sys.stderr)
        return 1
    if target is not None:
        written = write_folder(folder.metrics_dir, target)
        files = "1 file" if len(written) == 1 else f"{len(written)} files"
        print(
            f"\nwritten: {files} of YAML in {target}; check them with: anomstack validate --metrics-dir {target}",
            file=sys.stderr if output == "json" else sys.stdout,
        )
    return 0


def _copy(folder: LoadedFolder, name: str, wanted: list[str] | None) -> int:
    from anomstack_provider.migrate.table import copy_batch
    from anomstack_provider.store.foreign import ForeignTable
    from anomstack_provider.store.hooks import open_hook
    from anomstack_provider.wiring.batches import open_stores

    conn_id, slash, table = name.partition("/")
    if not (conn_id and slash and table):
        raise ValueError(f"--table {name!r}: expected CONN_ID/TABLE, such as anomstack_duckdb/metrics")
    specs = (
        {one: folder.batch(one).spec for one in wanted}
        if wanted
        else {one: batch.spec for one, batch in folder.batches.items()}
    )
    for one, spec in specs.items():
        if (spec.table_conn_id, spec.table_key) == (conn_id, table):
            raise ValueError(f"{one}: {name} is its table here too; it is read as it is, there is nothing to copy")
    source = ForeignTable(open_hook(conn_id, ""), table)
    held = source.batches()
    for one, spec in specs.items():
        if one in held:
            print(f"{one}: {copy_batch(source, one, open_stores(spec).metrics)}", flush=True)
        elif wanted:
            print(f"{one}: the table has no rows of it")
    left = {one: count for one, count in held.items() if one not in specs}
    for unknown, count in sorted(left.items(), key=lambda item: str(item[0])) if not wanted else []:
        print(f"left: {count:,} {'row' if count == 1 else 'rows'} of {unknown!r}, which is no batch of the folder")
    return 1 if folder.errors and not wanted else 0
