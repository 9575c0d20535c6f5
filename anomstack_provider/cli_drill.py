"""``anomstack drill``: put known faults into a copy of a metric and see what alerting makes of them."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anomstack_provider.alerting.alert import Alert
    from anomstack_provider.config.spec import BatchSpec
    from anomstack_provider.delivery.channels.base import Channel
    from anomstack_provider.messages.message import Message
    from anomstack_provider.steps.charts import Briefings
    from anomstack_provider.steps.drill import Drilled

_KINDS = ("spike", "drop", "flat", "gap", "drift")


def add_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to those of ``anomstack``."""
    drill = commands.add_parser(
        "drill",
        parents=[common],
        help="put a spike, a drop, a flat line, a gap and a drift into a copy of a metric and show what would be told",
        description="Stored values and the ledger of deliveries stay as they are. Exit code 1 if a fault is not told.",
    )
    drill.add_argument("batch", metavar="BATCH")
    drill.add_argument("metric", metavar="METRIC")
    drill.add_argument(
        "--kinds", type=_kinds, default=_KINDS, metavar="KIND,...", help=f"some of {', '.join(_KINDS)}; default: all"
    )
    drill.add_argument(
        "--size", type=_size, default=4.0, help="size of a fault in half-widths of the expected range (default 4)"
    )
    drill.add_argument("--charts", type=Path, metavar="DIR", help="folder to write the chart of each alert to")
    drill.add_argument("--send", metavar="CHANNEL", help="send each alert by this channel, marked as a drill")
    drill.add_argument("--output", choices=("text", "json"), default="text")
    drill.set_defaults(run=_run)


def _kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    if unknown := [kind for kind in kinds if kind not in _KINDS]:
        raise argparse.ArgumentTypeError(f"there is no kind {unknown[0]!r}, only {', '.join(_KINDS)}")
    return kinds


def _size(text: str) -> float:
    size = float(text)
    if not 0 < size < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return size


def _run(arguments: argparse.Namespace) -> int:
    from anomstack_provider.messages.drill import as_drill
    from anomstack_provider.steps.charts import Briefings
    from anomstack_provider.steps.drill import drill
    from anomstack_provider.wiring.batches import load_spec, open_stores

    spec = load_spec(arguments.batch, arguments.metrics_dir)
    channel = _channel(spec, arguments.send) if arguments.send else None
    switched_off = spec.switched_off
    table = open_stores(spec).metrics
    rows = []
    for found in drill(spec, arguments.metric, table, kinds=arguments.kinds, size=arguments.size):
        row = _facts(found)
        if found.alert is not None:
            told = Briefings(spec, found.rows, answerable=False)
            message = as_drill(told.compose(found.alert))
            row["first_line"] = message.first_line
            chart, name = None, f"drill-{found.kind}-{found.alert.event_id[:6]}.png"
            if arguments.charts or channel:
                chart = _chart(told, found.alert)
            if arguments.charts and chart is not None:
                arguments.charts.mkdir(parents=True, exist_ok=True)
                (arguments.charts / name).write_bytes(chart)
                row["chart"] = str(arguments.charts / name)
            if channel:
                row["sent"] = _send(channel, message, chart, name, found.alert)
        rows.append(row)
    if arguments.output == "json":
        answer = {"metric_batch": spec.metric_batch, "metric_name": arguments.metric, "switched_off": switched_off}
        print(json.dumps({**answer, "drills": rows}, indent=2))
    else:
        print(_as_text(spec, arguments.metric, switched_off, rows))
    bad = any(row["transition"] is None or row.get("sent", "") not in ("", "acknowledged") for row in rows)
    return 1 if bad else 0


def _facts(found: Drilled) -> dict[str, Any]:
    """Return what came of a fault as JSON values."""
    from anomstack_provider.steps.preview import utc_text

    alert = found.alert
    return {
        "fault": found.kind,
        "since": utc_text(found.since),
        "buckets": found.buckets,
        "transition": alert.transition if alert else None,
        "kind": alert.kind if alert else None,
        "severity": alert.severity if alert else None,
        "buckets_after": found.after,
        "stopped": dict(found.stopped),
        "first_line": None,
    }


def _chart(told: Briefings, alert: Alert) -> bytes | None:
    """Return the chart, None where it cannot be drawn: the message goes out all the same."""
    try:
        return told.draw(alert)
    except Exception as error:  # as in a real delivery
        print(f"the chart could not be drawn: {type(error).__name__}: {error}", file=sys.stderr)
        return None


def _channel(spec: BatchSpec, name: str) -> Channel:
    """Return the batch's channel of that name, whether it is among its ``alert_methods`` or not."""
    from anomstack_provider.delivery.channels import Unconfigured, open_channels

    (channel,) = open_channels(spec.model_copy(update={"alert_methods": (name,)})).values()
    if isinstance(channel, Unconfigured):
        raise ValueError(f"channel {name!r} has no destination: set {channel.key}")
    return channel


def _send(channel: Channel, message: Message, chart: bytes | None, filename: str, alert: Alert) -> str:
    from anomstack_provider.delivery.channels import DeliveryError
    from anomstack_provider.messages.drill import as_drilled

    try:
        channel.send(message, chart, filename, alerts=(as_drilled(alert),))
    except DeliveryError as error:
        return error.reason
    return "acknowledged"


def _as_text(spec: BatchSpec, metric: str, switched_off: list[str], rows: list[dict[str, Any]]) -> str:
    lines = [f"{spec.metric_batch}, {metric}: faults in a copy of its newest buckets", ""]
    what = "sends none" if spec.is_silent else "tells of no score"
    lines += [f"  {switch} is set: a live run {what}" for switch in switched_off]
    lines.append(f"  {'fault':6} {'buckets':>7}  {'told':9} {'after':>5}  {'kind':9} {'severity':8}")
    for row in rows:
        after = "" if row["buckets_after"] is None else str(row["buckets_after"])
        cells = [row[key] or "-" for key in ("kind", "severity")]
        told = row["transition"] or "no"
        lines.append(f"  {row['fault']:6} {row['buckets']:7}  {told:9} {after:>5}  {cells[0]:9} {cells[1]:8}".rstrip())
    lines.append("")
    for row in rows:
        if row["first_line"]:
            lines.append(f"{row['fault']}: {row['first_line']}")
        for label in ("chart", "sent"):
            if label in row:
                refused = label == "sent" and row[label] != "acknowledged"
                lines.append(f"  {'not ' if refused else ''}{label}: {row[label]}")
        if row["stopped"]:
            lines.append(
                f"  {row['fault']}: stopped by gates: " + ", ".join(f"{g} {n}" for g, n in row["stopped"].items())
            )
    return "\n".join(lines).rstrip()
