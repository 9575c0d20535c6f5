"""
The command line: ``anomstack preview``, ``drill``, ``feedback``, ``migrate``, ``validate``, ``deliveries``, ``schema``.

Results go to standard output, everything else to standard error. Exit codes: 0 fine, 1 the answer is bad news (a broken
folder), 2 the call or the config is wrong.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException

from anomstack_provider import cli_drill, cli_feedback, cli_migrate
from anomstack_provider.config.errors import ConfigError, TemplateError
from anomstack_provider.store.errors import StoreError

if TYPE_CHECKING:
    import pandas as pd

    from anomstack_provider.config.loaded import LoadedFolder
    from anomstack_provider.config.spec import BatchSpec
    from anomstack_provider.steps.ports import MetricRows
    from anomstack_provider.steps.preview import Preview


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    arguments = _parser().parse_args(argv)
    _log_to_stderr(logging.INFO if getattr(arguments, "verbose", False) else logging.WARNING)
    try:
        code: int = arguments.run(arguments)
    except (
        ValueError,
        OSError,
        AirflowException,
        ConfigError,
        TemplateError,
        StoreError,
    ) as error:  # bad input: said, not traced
        print(f"anomstack: {error}", file=sys.stderr)
        return 2
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("anomstack", description="Anomaly detection for business metrics on Airflow.")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--metrics-dir", help="the metrics folder; default: the [anomstack] metrics_dir option")
    common.add_argument("--verbose", action="store_true", help="log what is done to standard error")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    preview = commands.add_parser(
        "preview",
        parents=[common],
        help="show the alerts that a batch would have sent in a period; writes and sends nothing",
    )
    preview.add_argument("batch", metavar="BATCH", help="its metric_batch, without the prefix of its DAG")
    preview.add_argument(
        "--start", required=True, type=_moment, help="ISO 8601; the batch's time zone if it has no offset"
    )
    preview.add_argument("--end", required=True, type=_moment, help="first moment after the period")
    preview.add_argument("--output", choices=("text", "json"), default="text")
    preview.add_argument(
        "--scores", type=_table_path, help="write every bucket with its score: a .csv or .parquet file"
    )
    preview.add_argument("--charts", type=Path, help="folder to write a chart of each alert to")
    preview.add_argument(
        "--ingest",
        action="store_true",
        help="run the batch's query or function for the period and its training window instead of reading the table; "
        "done anyway when the table has no rows of the batch",
    )
    preview.set_defaults(run=_preview)

    cli_drill.add_command(commands, common)
    cli_feedback.add_command(commands, common)
    cli_migrate.add_command(commands, common)

    validate = commands.add_parser(
        "validate", parents=[common], help="check a metrics folder; exit code 1 if it is broken"
    )
    validate.add_argument(
        "--connections",
        action="store_true",
        help="also look up the Airflow connections, and make each notifier once with an example",
    )
    validate.set_defaults(run=_validate)
    deliveries = commands.add_parser(
        "deliveries",
        parents=[common],
        help="list what a batch has not delivered; exit code 1 if anything failed or was abandoned",
    )
    deliveries.add_argument("batch", metavar="BATCH")
    deliveries.add_argument("--retry", action="store_true", help="let the next run try what was abandoned again")
    deliveries.set_defaults(run=_deliveries)
    schema = commands.add_parser("schema", help="print the JSON Schema of a batch file, for editors")
    schema.set_defaults(run=_schema)
    return parser


def _log_to_stderr(level: int) -> None:
    """Keep standard output for results: Airflow, imported first, would log to it."""
    import airflow.settings  # noqa: F401  its logging is configured on import, and once

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not an ISO 8601 date or time") from error


def _table_path(text: str) -> Path:
    path = Path(text)
    if path.suffix not in (".csv", ".parquet"):
        raise argparse.ArgumentTypeError(f"{text!r} ends neither in .csv nor in .parquet")
    return path


def _preview(arguments: argparse.Namespace) -> int:
    from anomstack_provider.config.values import as_utc
    from anomstack_provider.runtime.window import RunWindow
    from anomstack_provider.steps.preview import preview
    from anomstack_provider.wiring.batches import load_spec

    spec = load_spec(arguments.batch, arguments.metrics_dir)
    window = RunWindow(as_utc(arguments.start, spec.timezone), as_utc(arguments.end, spec.timezone))
    if window.end > datetime.now(UTC):
        print("the period ends in the future: buckets that are still to come count as late data", file=sys.stderr)
    table = _table(spec, window, arguments)
    keep = bool(arguments.scores or arguments.charts)
    found = preview(spec, window, table, keep_scores=keep, count_reads=True)
    if arguments.scores:
        _write_scores(found.scores, arguments.scores)
    if arguments.charts:
        _write_charts(spec, found, arguments.charts)
    print(_as_json(found) if arguments.output == "json" else _as_text(spec, found))
    return 0


def _table(spec: BatchSpec, window: Any, arguments: argparse.Namespace) -> MetricRows:
    """Return the stored rows of the batch, or if there are none (or on demand) fetch them into memory."""
    from datetime import timedelta

    from anomstack_provider.runtime.ticks import tick_at_or_before
    from anomstack_provider.runtime.window import RunWindow
    from anomstack_provider.steps.preview import fetch_history
    from anomstack_provider.wiring.batches import open_stores
    from anomstack_provider.wiring.fetch import fetch_outside_airflow

    table = open_stores(spec).metrics
    if not arguments.ingest and table.newest_timestamp("metric", window.end) is not None:
        begins = spec.history_start is not None and spec.history_start >= window.start
        if not begins and table.newest_timestamp("metric", window.start) is None:
            print("the table has no rows from before the period to learn from; --ingest fetches them", file=sys.stderr)
        return table
    days = spec.train_metric_timestamp_max_days_ago + spec.score_metric_timestamp_max_days_ago
    start = tick_at_or_before(spec.cron, spec.timezone, window.start - timedelta(days=days))
    if spec.history_start is not None and spec.history_start < window.end:  # live runs have nothing older either
        start = max(start, spec.history_start)
    history = RunWindow(start, window.end)
    print(f"ingesting {history.start:%Y-%m-%d} to {history.end:%Y-%m-%d} into memory", file=sys.stderr)
    rows, result = fetch_history(spec, history, lambda part: fetch_outside_airflow(spec, part, arguments.metrics_dir))
    for name, reason in result.failed.items():
        print(f"refused: {name}: {reason}", file=sys.stderr)
    return rows


def _write_scores(scores: pd.DataFrame | None, path: Path) -> None:
    assert scores is not None, "they were kept to be written"
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        scores.to_csv(path, index=False, date_format="%Y-%m-%dT%H:%M:%S.%fZ")
    else:
        scores.to_parquet(path, index=False)


def _write_charts(spec: BatchSpec, found: Preview, folder: Path) -> None:
    from urllib.parse import quote

    from anomstack_provider.steps.charts import Briefings

    folder.mkdir(parents=True, exist_ok=True)
    told = Briefings(spec, found.rows)
    for alert in found.opened:
        name = quote(alert.metric_name, safe=" ")[:100]
        (folder / f"{alert.bucket:%Y%m%dT%H%M}-{name}-{alert.event_id[:6]}.png").write_bytes(told.draw(alert))


_TRANSITIONS = ("opened", "escalated", "closed", "expired", "routine")


def _as_json(found: Preview) -> str:
    from anomstack_provider.steps.preview import stopped_to_json, to_json

    answer = {
        "alerts": [to_json(a) for a in found.alerts],
        "stopped": [stopped_to_json(one) for one in found.stopped],
        "outcomes": found.outcomes(),
        "reads_per_run": {job: asdict(read) for job, read in found.reads.items()},
    }
    return json.dumps(answer, indent=2)


def _as_text(spec: BatchSpec, found: Preview) -> str:
    from anomstack_provider.steps.charts import Briefings
    from anomstack_provider.steps.preview import by_week

    told = Briefings(spec, found.rows)
    period = f"{found.window.start:%Y-%m-%d %H:%M} to {found.window.end:%Y-%m-%d %H:%M} UTC"
    happened = found.outcomes()["events"]
    counts = ", ".join(f"{happened[name]} {name}" for name in _TRANSITIONS if name in happened) or "none"
    routine = sum(alert.transition == "routine" for alert in found.alerts)
    count = len(found.alerts) - routine
    sent = ("1 alert" if count == 1 else f"{count} alerts") + (f" and {routine} routine messages" if routine else "")
    lines = [f"{spec.metric_batch}, {period}: {sent} would have been sent; events: {counts}", ""]
    what = "sends none" if spec.is_silent else "tells of no score"
    lines += [f"  {switch} is set: a live run {what}" for switch in found.switched_off]
    for alert in found.alerts:
        lines.append(f"  {alert.transition:9} {told.first_line(alert)}")
    weeks = by_week(found.alerts)
    if weeks:
        lines += ["", "events opened per metric and week:"]
        lines += [f"  {name}  {week}  {count}" for (name, week), count in weeks.items()]
    outcomes = found.outcomes()
    lines += ["", "metrics: " + ", ".join(f"{count} {what}" for what, count in outcomes["counts"].items())]
    lines += [f"  {name}: {why}" for name, why in outcomes["not_evaluated"].items()]
    if outcomes["stopped"]:
        by_gate = ", ".join(f"{gate} {count}" for gate, count in outcomes["stopped"].items())
        lines.append(f"stopped by gates: {by_gate}")
    if found.suppressed:
        lines.append(f"suppressed by the calendar: {found.suppressed} buckets at or above the threshold")
    lines += ["", "one run reads, in bytes of the answers (an engine may bill more):"]
    for job, read in found.reads.items():
        what = "of the source, as far as it is stored" if job == "ingest" else f"of {spec.table_key}"
        rows = "1 row" if read.rows == 1 else f"{read.rows:,} rows"
        queries = "1 query" if read.queries == 1 else f"{read.queries:,} queries"
        lines.append(f"  {job:7} {rows}, {_bytes(read.bytes)} {what}, in {queries}")
    return "\n".join(lines)


def _bytes(count: int) -> str:
    """Return a number of bytes in the unit that fits."""
    return next(
        (f"{count / size:,.1f} {unit}" for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if count >= size),
        f"{count} bytes",
    )


def _validate(arguments: argparse.Namespace) -> int:
    from anomstack_provider.config.includes import missing_includes
    from anomstack_provider.wiring.batches import load_folder

    folder = load_folder(arguments.metrics_dir)
    warned = folder.warned
    for name, batch in sorted(folder.batches.items()):
        print(f"ok      {name} ({batch.path})")
        for warning in batch.warnings:
            if len(warned[warning]) == 1:
                print(f"warning {name}: {warning}")
    for warning, names in warned.items():
        if len(names) > 1:
            print(f"warning {'all batches' if len(names) == len(folder.batches) else ', '.join(names)}: {warning}")
    for warning in folder.warnings:
        print(f"warning {warning}")
    for error in folder.errors:
        print(f"error   {error}")
    if not folder.batches and not folder.errors:
        print(f"warning there is no metric batch in {arguments.metrics_dir or folder.metrics_dir}")
    missing = missing_includes(folder) + (_missing(folder) if arguments.connections else [])
    for problem in missing:
        print(f"error   {problem}")
    return 1 if folder.errors or missing else 0


def _missing(folder: LoadedFolder) -> list[str]:
    from anomstack_provider.wiring.connections import missing_connections

    return missing_connections(folder)


def _deliveries(arguments: argparse.Namespace) -> int:
    from anomstack_provider.alerting.wording import one_line
    from anomstack_provider.store.ledger import DeliveryLedger
    from anomstack_provider.wiring.batches import load_spec, open_hook

    spec = load_spec(arguments.batch, arguments.metrics_dir)
    ledger = DeliveryLedger(open_hook(spec), spec.table_key, spec.metric_batch)
    if arguments.retry:
        print(f"{ledger.retry_abandoned()} abandoned deliveries are pending again")
    found = ledger.unsent()
    for delivery in found:
        metric = one_line(str(json.loads(delivery.payload).get("metric_name")))
        recorded = f"{delivery.recorded_at:%Y-%m-%d %H:%M}" if delivery.recorded_at else ""
        line = f"{delivery.status:9}  {recorded}  {delivery.channel}  {metric}: {delivery.transition}"
        tries = "once" if delivery.attempts == 1 else f"{delivery.attempts} times"
        print(f"{line}, event {delivery.event_id}, tried {tries}{_because(delivery.error)}")
    counts = Counter(delivery.status for delivery in found)
    print(f"{spec.metric_batch}: " + (", ".join(f"{n} {status}" for status, n in counts.items()) or "nothing is owed"))
    return 1 if counts["failed"] or counts["abandoned"] else 0


def _because(error: str | None) -> str:
    return f": {error}" if error else ""


def _schema(arguments: argparse.Namespace) -> int:
    from anomstack_provider.config.schema import json_schema

    print(json.dumps(json_schema(), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
