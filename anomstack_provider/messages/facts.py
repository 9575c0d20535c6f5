"""The facts below an alert's first line: label and text each, most important first, in plain words."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.alerting.wording import (
    amount,
    distance,
    elide,
    isolated,
    known,
    numbers,
    one_line,
    share,
    tag_text,
    unit_text,
)
from anomstack_provider.config.about import About
from anomstack_provider.messages.buckets import (
    bucket_long,
    bucket_short,
    bucket_start,
    duration,
    first_bucket,
    lasted,
    same_bucket,
)
from anomstack_provider.messages.headline import deviation, moment_after, name, of_batch
from anomstack_provider.messages.surroundings import Surroundings

VERDICTS = ("real", "false_alarm", "expected", "new_normal", "snooze")
# Longer names make a command that nobody copies from a phone; shortened ones one that does not work.
_COMMAND_LIMIT = 400


@dataclass(frozen=True)
class Fact:
    """One line below the first: a label and its text; ``url`` makes the label a link."""

    label: str
    text: str
    url: str | None = None


def facts_of(alert: Alert, timezone: str, about: About, around: Surroundings) -> list[Fact]:
    """Return what the first line has no room for; what is not known is left out."""
    unit = unit_text(about.unit)
    told = [
        ("Value", _value(alert, unit)),
        ("When", bucket_long(alert.bucket, alert.grain, timezone)),
        ("Lasting" if alert.transition != "closed" else "Lasted", _lasting(alert, timezone)),
        ("Worst", _worst(alert, timezone, unit)),
        ("Why", _sentences((*alert.why, *_score(alert)))),
        ("Language model says", _quoted(alert.says)),
        ("Passed", _sentences(alert.gates)),
        ("Calendar", _plain(alert.note)),
        _season(alert, timezone, unit, around),
        ("Last alert", _last_alert(alert, timezone, around)),
        ("Upstream", _plain(around.upstream)),
        ("Missing", _missing(alert)),
        ("Owner", _plain(about.owner)),
        ("Batch", name(alert.metric_batch, 120)) if of_batch(alert) else ("Metric", _metric(alert)),
        ("Tags", tag_text(alert.tags)),
    ]
    return [Fact(label, text) for label, text in told if text]


def event_fact(alert: Alert) -> Fact:
    """Return the event's id, with what became of it."""
    found = ", ".join(alert.kinds or (alert.kind,))
    return Fact("Event", one_line(f"{alert.event_id} ({found} {alert.transition})"))


def link_facts(addresses: Mapping[str, str | None]) -> list[Fact]:
    """Return links; an address that no browser should follow is shown as text only."""
    found = []
    for label, address in addresses.items():
        url = "".join((address or "").split())
        if url:
            safe = url.lower().startswith(("https://", "http://"))
            found.append(Fact(one_line(label), url, url if safe else None))
    return found


def command(alert: Alert) -> list[str]:
    """
    Return the words of the shell command that answers an alert, ``VERDICT`` standing for one of :data:`VERDICTS`.

    Empty for late data, of which no bucket is stored, and for names that no command line takes as they are: a leading
    dash, a line end, a character that turns text around.
    """
    names = (alert.metric_batch, alert.metric_name)
    bucket = first_bucket(alert).astimezone(UTC).isoformat().replace("+00:00", "Z")
    words = ["anomstack", "feedback", *names, bucket, "VERDICT", "--event", alert.event_id]
    quoted = [shlex.quote(word) for word in words]
    text = " ".join(quoted)
    taken = one_line(text) == text and len(text) <= _COMMAND_LIMIT and not any(name.startswith("-") for name in names)
    return quoted if taken and alert.kind != "late" else []


def _value(alert: Alert, unit: str) -> str:
    """Say the value, the one to expect and the usual range, with as many digits as tell them apart."""
    value, expected, lower, upper = (known(x) for x in (alert.value, alert.expected, alert.lower, alert.upper))
    if value is None:
        return "" if alert.kind == "late" else "none"
    words = iter(numbers(*(x for x in (value, expected, lower, upper) if x is not None)))
    unit = f" {unit}" if unit else ""
    said = f"{next(words)}{unit}"
    if expected is not None:
        said += f"; {'level before' if alert.kind == 'change' else 'expected'} {next(words)}{unit}"
    elif alert.kind == "anomaly":
        said += "; too little history to say what to expect"
    span = "allowed" if alert.kind == "threshold" else "usual"
    if lower is not None and upper is not None:
        return f"{said}, {span} range {next(words)} to {next(words)}{unit}"
    if lower is not None:
        return f"{said}, {span} from {next(words)}{unit}"
    return f"{said}, {span} up to {next(words)}{unit}" if upper is not None else said


def _lasting(alert: Alert, timezone: str) -> str:
    length = duration(lasted(alert, timezone), alert.grain)
    if not length or alert.transition == "routine":
        return ""
    if alert.transition == "opened" and first_bucket(alert) == alert.bucket:
        return f"{length} so far, this is its first bucket"
    began = bucket_start(first_bucket(alert), alert.grain, timezone)
    counted = "" if alert.kind == "late" else f"; {alert.fired} {'bucket' if alert.fired == 1 else 'buckets'} fired"
    return (
        f"{length} from {began}{counted}"
        if alert.transition == "closed"
        else f"{length} so far, since {began}{counted}"
    )


def _worst(alert: Alert, timezone: str, unit: str) -> str:
    """Say what the event's worst bucket was, unless that is the one of this transition."""
    value, expected = known(alert.peak_value), known(alert.peak_expected)
    if value is None or alert.peak_bucket is None or alert.peak_bucket == alert.bucket:
        return ""
    far = "" if expected is None or alert.kind == "threshold" else f", {distance(value, expected, unit=unit)}"
    return f"{amount(value, unit)}{far} ({bucket_short(alert.peak_bucket, alert.grain, timezone)})"


def _score(alert: Alert) -> list[str]:
    """Return the score as a sentence; a number out of 1 tells nobody anything alone."""
    score, threshold = known(alert.score), known(alert.threshold)
    if score is None or threshold is None or alert.transition == "closed":
        return []
    at, least = numbers(score, threshold)
    said = f"anomaly score {at} on a scale from 0 (usual) to 1 (extreme), alerts start at {least}"
    return [said] if alert.why else [_position(alert), said]


def _position(alert: Alert) -> str:
    """Say how the value lies to the usual range."""
    value, lower, upper = known(alert.value), known(alert.lower), known(alert.upper)
    if value is None:
        return deviation(alert)
    if upper is not None and value > upper:
        return "above the usual range"
    if lower is not None and value < lower:
        return "below the usual range"
    return "inside the usual range, but its recent buckets together are not usual"


def _season(alert: Alert, timezone: str, unit: str, around: Surroundings) -> tuple[str, str]:
    bucket, then = around.season_bucket, known(around.season_value)
    if bucket is None or then is None:
        return "", ""
    label, when = same_bucket(bucket, alert.bucket, alert.grain, timezone)
    said = f"{amount(then, unit)} {when}"
    value = known(alert.value)
    if value is None:
        return label, said
    if value == then:
        return label, f"{said}, now the same"
    apart = share(value, then)
    return label, f"{said}, now {apart} that" if apart else f"{said}, now {amount(value, unit)}"


def _last_alert(alert: Alert, timezone: str, around: Surroundings) -> str:
    if around.last_alert is None:
        return ""
    before = moment_after(around.last_alert, first_bucket(alert))
    return f"{bucket_start(around.last_alert, alert.grain, timezone)}, {before}"


def _metric(alert: Alert) -> str:
    return f"{name(alert.metric_batch, 120)} · {name(alert.metric_name, 120)}"


def _missing(alert: Alert) -> str:
    shown = [name(metric, 60) for metric in alert.metrics[:10]]
    more = f" and {len(alert.metrics) - 10} more" if len(alert.metrics) > 10 else ""
    return ", ".join(shown) + more


def _sentences(texts: tuple[str, ...]) -> str:
    """Return texts as sentences, one behind the other."""
    said = (isolated(elide(one_line(text).rstrip("."), 300)) for text in texts)
    return " ".join(f"{text[:1].upper()}{text[1:]}." for text in said if text)


def _quoted(text: str) -> str:
    """Return a language model's words in quotation marks: they are its own, and nobody has checked them."""
    said = elide(one_line(text), 500)
    return f"“{isolated(said)}”" if said else ""


def _plain(text: str | None) -> str:
    return isolated(elide(one_line(text or ""), 200))
