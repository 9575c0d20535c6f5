"""The first line of an alert, which has to be enough on a phone: how bad, what, how far from expected, when."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.alerting.wording import (
    amount,
    distance,
    elide,
    isolated,
    known,
    number,
    one_line,
    share,
    unit_text,
)
from anomstack_provider.config.about import About
from anomstack_provider.messages.buckets import (
    bucket_short,
    duration,
    first_bucket,
    lasted,
    rhythm,
)

_HIGH_OR_LOW = {"up": "high", "down": "low"}
_ABOVE_OR_BELOW = {"up": "above", "down": "below"}
_OLD_LEVEL = "the old level"


@dataclass(frozen=True)
class Headline:
    """
    The first line in its parts.

    :param tag: severity or transition, in capitals: ``HIGH``, ``HIGH, escalated``, ``CLOSED``, ``ROUTINE``.
    :param batch: the batch's name; "" where ``subject`` is a title of its own, or the batch itself.
    :param subject: the metric's title or name; with a colon where ``finding`` is a sentence of its own.
    :param finding: what was found: ``42 % below expected: 1,161 EUR``.
    :param when: the bucket of ``finding``; "" where that names its own.
    """

    tag: str
    batch: str
    subject: str
    finding: str
    when: str

    @property
    def line(self) -> str:
        """The whole on one line, not escaped."""
        name = f"{self.batch} · {self.subject}" if self.batch else self.subject
        return f"[{self.tag}] {name} {self.finding}" + (f" ({self.when})" if self.when else "")


def headline(alert: Alert, timezone: str, about: About) -> Headline:
    """
    Return the first line: ``[HIGH] Orders (hourly) 42 % below expected: 1,161 EUR (Fri 8 Feb 14:00 EST)``.

    :param timezone: IANA name of the zone in which buckets are named.
    """
    alert = _at_worst(alert)
    batch, subject = _names(alert, about)
    subject += ":" if alert.kind == "late" else ""
    says = _FINDINGS.get(alert.kind, _anomaly)
    return Headline(_tag(alert), batch, subject, says(alert, timezone, unit_text(about.unit)), _when(alert, timezone))


def _at_worst(alert: Alert) -> Alert:
    """
    Return an alert on a score that opens or escalates an event as of the worst bucket, if it fired on a lesser one.

    An average of scores can cross its threshold some buckets late, when the value is usual again. A value that is
    beyond the range itself has escalated the event; the worst bucket may then be an older one.
    """
    value, upper, lower = known(alert.value), known(alert.upper), known(alert.lower)
    beyond = upper if alert.direction == "up" else lower
    usual = value is None or beyond is None or (value <= beyond if alert.direction == "up" else value >= beyond)
    news = alert.transition == "opened" or (alert.transition == "escalated" and usual)
    # Without a score it is a threshold that the bucket crossed, and that is the news.
    by_score = alert.kind == "anomaly" and known(alert.score) is not None
    if not by_score or not news or alert.peak_bucket is None or known(alert.peak_value) is None:
        return alert
    return replace(alert, bucket=alert.peak_bucket, value=alert.peak_value, expected=alert.peak_expected)


def name(text: str, limit: int) -> str:
    """Return a name from outside on one line, not longer than ``limit``, that turns nothing around it."""
    return isolated(elide(one_line(text), limit)) or "(no name)"


def _tag(alert: Alert) -> str:
    """Return the severity; a later transition says so, lest it reads like a new alert."""
    if alert.transition in ("closed", "expired", "routine"):
        return alert.transition.upper()
    found = "LATE" if alert.kind == "late" else one_line(alert.severity).upper()
    return found if alert.transition == "opened" else f"{found}, {one_line(alert.transition)}"


def _names(alert: Alert, about: About) -> tuple[str, str]:
    if of_batch(alert):
        return "", name(alert.metric_batch, 50)
    if not about.title:
        return name(alert.metric_batch, 30), name(alert.metric_name, 50)
    often = rhythm(alert.grain)
    told = not often or about.title.rstrip().endswith(")") or often in about.title.lower()
    return "", name(about.title, 60) + ("" if told else f" ({often})")


def of_batch(alert: Alert) -> bool:
    """Whether an event is one of its whole batch, which is stored under the batch's own name."""
    return alert.kind == "late" and (bool(alert.metrics) or alert.metric_name == alert.metric_batch)


def _when(alert: Alert, timezone: str) -> str:
    """Name the bucket that the finding is about: of what has ended its worst, of late data none."""
    if alert.kind == "late":
        return ""
    bucket = alert.bucket if alert.transition != "closed" else alert.peak_bucket or first_bucket(alert)
    return bucket_short(bucket, alert.grain, timezone)


def _anomaly(alert: Alert, timezone: str, unit: str) -> str:
    if alert.transition == "routine":
        return _plainly(alert, unit)
    after = _after(alert, timezone)
    if alert.transition == "closed":
        return f"back to usual{after}{_worst(alert, unit)}"
    if alert.transition == "expired":
        return f"still {deviation(alert, unit)}{after}; silent until it ends"
    return _now(alert, deviation(alert, unit))


def _plainly(alert: Alert, unit: str) -> str:
    """Say the value and how far it is from the expected one, without a judgement."""
    value, expected = known(alert.value), known(alert.expected)
    if value is None:
        return "has no value"
    return f"is {amount(value, unit)}" if expected is None else _far(value, expected, "expected", unit)


def deviation(alert: Alert, unit: str = "") -> str:
    """Say in which direction and how far the value is from the expected one."""
    unusual = f"unusually {_HIGH_OR_LOW.get(alert.direction, alert.direction)}"
    value, expected = known(alert.value), known(alert.expected)
    if value is None:
        return f"{unusual}, no value"
    if expected is None:
        return f"{unusual} at {amount(value, unit)}"
    if (alert.direction == "up" and value > expected) or (alert.direction == "down" and value < expected):
        return _far(value, expected, "expected", unit)
    # Of an event that expires on a bucket that is usual itself.
    return f"{unusual} lately, now {_far(value, expected, 'expected', unit)}"


def _threshold(alert: Alert, timezone: str, unit: str) -> str:
    side = _ABOVE_OR_BELOW.get(alert.direction, "beyond")
    bound = crossed(alert)
    limit = "its threshold" if bound is None else f"{number(bound)} (threshold)"
    after = _after(alert, timezone)
    if alert.transition == "closed":
        within = {"above": "below", "below": "above"}.get(side, "within")
        worst = known(alert.peak_value)
        return f"back {within} {limit}{after}" + (f", at worst {amount(worst, unit)}" if worst is not None else "")
    value = known(alert.value)
    said = f"{side} {limit}" + (f": {amount(value, unit)}" if value is not None else "")
    if alert.transition == "expired":
        return f"still {said}{after}; silent until it ends"
    return _now(alert, said)


def crossed(alert: Alert) -> float | None:
    """Return the bound that a threshold event lies beyond."""
    return known(alert.lower if alert.direction == "down" else alert.upper)


def _change(alert: Alert, timezone: str, unit: str) -> str:
    after = _after(alert, timezone)
    if alert.transition == "closed":
        return f"at its usual level again{after}{_worst(alert, unit, _OLD_LEVEL)}"
    value, expected = known(alert.value), known(alert.expected)
    said = "at a new level"
    if value is not None:
        said += f", {_far(value, expected, _OLD_LEVEL, unit)}" if expected is not None else f": {amount(value, unit)}"
    if alert.transition == "expired":
        return f"still {said}{after}; silent until it ends"
    return _now(alert, said)


def _llm(alert: Alert, timezone: str, unit: str) -> str:
    after = _after(alert, timezone)
    if alert.transition == "closed":
        return f"no longer unusual to a language model{after}{_worst(alert, unit)}"
    value, expected = known(alert.value), known(alert.expected)
    said = "unusual to a language model"
    if value is not None:
        said += f", {_far(value, expected, 'expected', unit)}" if expected is not None else f": {amount(value, unit)}"
    if alert.transition == "expired":
        return f"still {said}{after}; silent until it ends"
    return _now(alert, said)


def _late(alert: Alert, timezone: str, unit: str) -> str:
    of = f" for {_count(len(alert.metrics))}" if alert.metrics else ""
    length = duration(lasted(alert, timezone), alert.grain)
    if alert.transition == "closed":
        return f"data{of} are back" + (f", {length} overdue" if length else "")
    # Not "since": some missing buckets are usual, and the event begins with the first that is not.
    said = f"no data{of}, overdue since {bucket_short(first_bucket(alert), alert.grain, timezone)}"
    if alert.transition == "opened":
        return said
    said = f"still {said}" + (f", for {length}" if length else "")
    return f"{said}; silent until they are back" if alert.transition == "expired" else said


def _count(metrics: int) -> str:
    return f"{metrics} metric" if metrics == 1 else f"{metrics} metrics"


_FINDINGS = {"anomaly": _anomaly, "threshold": _threshold, "change": _change, "llm": _llm, "late": _late}


def _far(value: float, expected: float, base: str, unit: str) -> str:
    """Say how far a value is from the expected one, and where the distance alone does not tell it, the value."""
    said = distance(value, expected, base, unit)
    return f"{said}: {amount(value, unit)}" if share(value, expected) else said


def _worst(alert: Alert, unit: str, base: str = "expected") -> str:
    value, expected = known(alert.peak_value), known(alert.peak_expected)
    if value is None:
        return ""
    return f", at worst {amount(value, unit) if expected is None else distance(value, expected, base, unit)}"


def _after(alert: Alert, timezone: str) -> str:
    length = duration(lasted(alert, timezone), alert.grain)
    return f" after {length}" if length else ""


def _now(alert: Alert, said: str) -> str:
    return f"now {said}" if alert.transition == "escalated" and " now " not in said else said


def moment_after(earlier: datetime, later: datetime) -> str:
    """Say how long before another moment one was: ``3 days before``."""
    return f"{duration(later - earlier) or '0 min'} before"
