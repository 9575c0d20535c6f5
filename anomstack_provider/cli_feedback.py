"""``anomstack feedback``: say what an alert was, or see what was said and what it tells of the alerts."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from anomstack_provider.config.spec import BatchSpec
    from anomstack_provider.detection.feedback import Verdict
    from anomstack_provider.steps.feedback import Precision
    from anomstack_provider.steps.suggest import Suggestion

T = TypeVar("T")

_WORDS = ("real", "false_alarm", "expected", "new_normal", "snooze")


def add_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to those of ``anomstack``."""
    feedback = commands.add_parser(
        "feedback",
        parents=[common],
        help="say what an alert was, or list what was said of a batch",
        description="With BATCH alone: what was said, how many alerts were real, and settings to try.",
    )
    feedback.add_argument("batch", metavar="BATCH")
    feedback.add_argument("metric", metavar="METRIC", nargs="?")
    feedback.add_argument(
        "bucket",
        metavar="BUCKET",
        nargs="?",
        type=_moment,
        help="start of the bucket, ISO 8601; the batch's time zone if it has no offset",
    )
    feedback.add_argument("verdict", metavar="VERDICT", nargs="?", choices=_WORDS, help=", ".join(_WORDS))
    feedback.add_argument("--note", default="", help="why, in a sentence")
    feedback.add_argument("--event", metavar="ID", help="the event of the bucket: holds for all its buckets")
    feedback.add_argument("--by", metavar="NAME", help="who says so; default: the user of the system")
    end = feedback.add_mutually_exclusive_group()
    end.add_argument("--until", type=_moment, help="end of a snooze, ISO 8601")
    end.add_argument("--for", dest="length", metavar="DURATION", type=_length, help="length of a snooze, such as 3d")
    feedback.add_argument("--output", choices=("text", "json"), default="text", help="form of the list")
    feedback.set_defaults(run=_run)


def _moment(text: str) -> datetime:
    from anomstack_provider.config.values import parse_moment

    return _parsed(parse_moment, text)


def _length(text: str) -> timedelta:
    from anomstack_provider.config.values import parse_duration

    return _parsed(parse_duration, text)


def _parsed(parse: Callable[[object], T], text: str) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _run(arguments: argparse.Namespace) -> int:
    from anomstack_provider.wiring.batches import load_spec

    if arguments.metric is not None and arguments.verdict is None:
        raise ValueError("feedback takes BATCH alone, or BATCH METRIC BUCKET VERDICT")
    if arguments.verdict == "snooze" and arguments.until is None and arguments.length is None:
        raise ValueError("a snooze needs an end: --for and a length such as 3d, or --until and a time")
    spec = load_spec(arguments.batch, arguments.metrics_dir)
    now = datetime.now(UTC)
    return _list(spec, now, arguments.output) if arguments.metric is None else _give(spec, now, arguments)


def _give(spec: BatchSpec, now: datetime, arguments: argparse.Namespace) -> int:
    from anomstack_provider.config.values import as_utc
    from anomstack_provider.steps.feedback import give
    from anomstack_provider.wiring.batches import open_stores

    until = now + arguments.length if arguments.length is not None else arguments.until
    given = give(
        spec,
        open_stores(spec).metrics,
        arguments.metric,
        as_utc(arguments.bucket, spec.timezone),
        arguments.verdict,
        given_at=now,
        by=arguments.by or _system_user(),
        note=arguments.note,
        until=None if until is None else as_utc(until, spec.timezone),
        event_id=arguments.event,
    )
    what = "1 bucket" if len(given) == 1 else f"{len(given)} buckets"
    print(f"{_plain(arguments.metric)}: {arguments.verdict.replace('_', ' ')}, {what}")
    return 0


def _system_user() -> str | None:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # in a container the number of a user may have no name
        return None


def _list(spec: BatchSpec, now: datetime, output: str) -> int:
    from anomstack_provider.steps.feedback import precision, read, standing, to_json
    from anomstack_provider.steps.suggest import suggestions
    from anomstack_provider.wiring.batches import open_stores

    store = open_stores(spec).metrics
    verdicts = read(store)
    found = suggestions(spec, store, verdicts, now)
    if output == "json":
        print(json.dumps({**to_json(verdicts, now), "suggestions": [asdict(one) for one in found]}, indent=2))
    else:
        print(_as_text(spec, standing(verdicts), precision(verdicts, now), found))
    return 0


def _as_text(
    spec: BatchSpec, given: list[tuple[str, Verdict]], shares: dict[str, Precision], suggestions: list[Suggestion]
) -> str:
    from anomstack_provider.steps.feedback import PRECISION_DAYS

    lines = [f"{spec.metric_batch}: {len(given)} {'verdict' if len(given) == 1 else 'verdicts'}"]
    lines += [_line(spec, name, verdict) for name, verdict in given]
    if shares:
        lines += ["", f"real alerts, of those judged in the last {PRECISION_DAYS} days:"]
        lines += [
            f"  {_plain(name)}: {p.real} of {p.real + p.false_alarms} ({p.share:.0%})" for name, p in shares.items()
        ]
    for s in suggestions:
        lines += [
            "",
            f"{_plain(s.metric_name)}: {s.false_alarms} false alarms in 30 days",
            f"  {s.key}: {s.suggested:g} instead of {s.present:g} would have alerted "
            f"{s.alerts_then} instead of {s.alerts_now} times in the last 30 days",
        ]
    return "\n".join(lines)


def _line(spec: BatchSpec, name: str, verdict: Verdict) -> str:
    from zoneinfo import ZoneInfo

    bucket = verdict.bucket.astimezone(ZoneInfo(spec.timezone))
    parts = [f"  {bucket:%Y-%m-%d %H:%M}  {_plain(name)}  {verdict.word.replace('_', ' ')}"]
    if verdict.until:
        parts.append(f" until {verdict.until.astimezone(ZoneInfo(spec.timezone)):%Y-%m-%d %H:%M}")
    if verdict.event_id:
        parts.append(f", event {_plain(verdict.event_id)}")
    if verdict.by:
        parts.append(f", by {_plain(verdict.by)}")
    if verdict.note:
        parts.append(f": {_plain(verdict.note)}")
    return "".join(parts)


def _plain(text: str) -> str:
    """Return text that does nothing to a terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
