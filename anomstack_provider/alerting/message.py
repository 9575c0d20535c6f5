"""What an alert says: a first line and a few facts, composed once, laid out as text, HTML and Slack blocks.

Everything that came from a user (names, tags, addresses) is escaped where it is laid out. How numbers and
times are worded is in ``wording``, sending in ``channels``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.alerting.wording import (
    bucket_long,
    bucket_short,
    deviation,
    elide,
    isolated,
    known,
    numbers,
    one_line,
    tag_text,
    without_isolates,
)

# Stands in the HTML where the chart goes. No name can bring one along: every "<" from outside is escaped.
CHART_SLOT = "<!-- chart -->"
CHART_UNAVAILABLE = "Chart unavailable; the log of the task that sent this says why."

_HEADER_LIMIT = 150  # Slack refuses a longer header block.
_COLOURS = {"high": "#b3261e", "medium": "#9a5b00", "low": "#3f5773"}


@dataclass(frozen=True)
class Fact:
    """One line below the first: a label and its text; ``url`` makes the text a link."""

    label: str
    text: str
    url: str | None = None


@dataclass(frozen=True)
class Message:
    """
    One alert, ready for every channel.

    :param first_line: enough on its own: severity, what, how far from expected, when. One line, not escaped.
    :param text: the whole message as plain text, the first line included.
    :param html: the whole message as an HTML document with ``CHART_SLOT`` once in it.
    :param blocks: the whole message as Slack blocks.
    :param event_id: with ``transition`` what a channel derives a stable message id from.
    """

    first_line: str
    text: str
    html: str
    blocks: list[dict[str, Any]]
    event_id: str
    transition: str


def compose(alert: Alert, *, timezone: str, links: Mapping[str, str]) -> Message:
    """
    Return the message for an alert.

    :param timezone: IANA name of the zone that the batch's buckets follow and times are shown in.
    :param links: URL per name, such as ``Run`` or ``DAG``, shown in this order.
    """
    line = first_line(alert, timezone)
    facts = [*_facts(alert, timezone), *_links(links)]
    return Message(
        first_line=line,
        text=_text(line, facts),
        html=_html(alert, line, timezone, facts),
        blocks=_blocks(line, facts),
        event_id=alert.event_id,
        transition=alert.transition,
    )


def first_line(alert: Alert, timezone: str) -> str:
    """Return the line that is enough on a phone: ``[HIGH] web · orders 42 % below expected (Fri 8 Feb)``."""
    batch, metric = _name(alert.metric_batch, 30), _name(alert.metric_name, 50)
    return f"[{_severity(alert)}] {batch} · {metric} {deviation(alert)} ({bucket_short(alert, timezone)})"


def _severity(alert: Alert) -> str:
    """Return the severity in capitals; a later transition says so, lest it reads like a new alert."""
    severity = one_line(alert.severity).upper()
    return severity if alert.transition == "opened" else f"{severity}, {one_line(alert.transition)}"


def _name(text: str, limit: int) -> str:
    return isolated(elide(one_line(text), limit)) or "(no name)"


def _facts(alert: Alert, timezone: str) -> list[Fact]:
    """Return what the first line has no room for, most important first."""
    score, threshold = numbers(alert.score, alert.threshold)
    why = f"Anomaly score {score} on a scale from 0 (usual) to 1 (extreme); alerts start at {threshold}"
    facts = [
        Fact("Value", _value(alert)),
        Fact("When", bucket_long(alert, timezone)),
        *([Fact("Calendar", isolated(elide(one_line(alert.note), 200)))] if alert.note else []),
        Fact("Why", why),
        Fact("Metric", _name(alert.metric_name, 300)),
        Fact("Batch", _name(alert.metric_batch, 300)),
    ]
    if alert.tags:
        facts.append(Fact("Tags", tag_text(alert.tags)))
    facts.append(Fact("Event", one_line(f"{alert.event_id} ({alert.kind} {alert.transition})")))
    return facts


def _value(alert: Alert) -> str:
    """Say the value, the one to expect and the usual range, with as many digits as tell them apart."""
    expected, lower, upper = known(alert.expected), known(alert.lower), known(alert.upper)
    shown = [value for value in (alert.value, expected, lower, upper) if value is not None]
    words = iter(numbers(*shown))
    value = next(words)
    said = "too little history to say what to expect" if expected is None else f"expected {next(words)}"
    if lower is None or upper is None:
        return f"{value}; {said}"
    return f"{value}; {said}, usual range {next(words)} to {next(words)}"


def _links(links: Mapping[str, str]) -> list[Fact]:
    """Return the links; an address that no browser should follow is shown as text only."""
    facts = []
    for name, address in links.items():
        url = "".join(address.split())
        safe = url.lower().startswith(("https://", "http://"))
        facts.append(Fact(one_line(name), url, url if safe else None))
    return facts


def _text(line: str, facts: Sequence[Fact]) -> str:
    width = max(len(fact.label) for fact in facts)
    return "\n".join([line, "", *(f"{fact.label.ljust(width)}  {fact.text}" for fact in facts), ""])


def _bdi(text: str) -> str:
    """Escape for HTML, in an element that keeps a right-to-left name from turning its neighbours around."""
    plain = without_isolates(text)
    return escape(plain) if plain == text else f"<bdi>{escape(plain)}</bdi>"


def _html(alert: Alert, line: str, timezone: str, facts: Sequence[Fact]) -> str:
    """
    Lay the message out for mail readers: tables with inline styles are the only thing that all of them draw.

    The hidden paragraph is what a phone shows below the subject: the numbers, not the heading again.
    """
    colour = _COLOURS.get(alert.severity, _COLOURS["low"])
    title = f"{_bdi(_name(alert.metric_name, 80))} {escape(deviation(alert))}"
    rows = "".join(
        f'<tr><td style="padding:7px 16px 7px 0;color:#5b6472;vertical-align:top;white-space:nowrap;">'
        f'{escape(fact.label)}</td><td style="padding:7px 0;color:#1b2430;vertical-align:top;'
        f'font-weight:{"400" if position else "700"};word-break:break-word;overflow-wrap:anywhere;">'
        f"{_bdi(fact.text)}</td></tr>"
        for position, fact in enumerate(facts)
        if fact.url is None
    )
    buttons = "".join(
        f'<a href="{escape(fact.url)}" style="display:inline-block;margin:0 8px 8px 0;padding:8px 14px;'
        f"border:1px solid #b9c2cf;border-radius:6px;color:#1b4f9c;text-decoration:none;font-size:14px;"
        f'">{escape(fact.label)}</a>'
        for fact in facts
        if fact.url is not None
    )
    preview = f"{facts[0].text}. {bucket_long(alert, timezone)}"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(without_isolates(line))}</title>
</head>
<body style="margin:0;padding:0;background:#eef1f5;">
<p style="display:none;max-height:0;overflow:hidden;opacity:0;">{escape(preview)}</p>
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" style="background:#eef1f5;">
<tr><td align="center" style="padding:20px 8px;">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0"
 style="max-width:720px;background:#ffffff;border:1px solid #d9dfe7;border-top:5px solid {colour};
 border-radius:6px;font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;">
<tr><td style="padding:20px 24px 6px 24px;">
<p style="margin:0 0 6px 0;font-size:13px;color:#5b6472;"><span style="display:inline-block;padding:2px 8px;
border-radius:4px;background:{colour};color:#ffffff;font-weight:700;letter-spacing:.04em;
">{escape(_severity(alert))}</span>&nbsp; {_bdi(_name(alert.metric_batch, 60))} &middot;
{escape(bucket_short(alert, timezone))}</p>
<h1 style="margin:0;font-size:21px;line-height:1.3;color:#1b2430;overflow-wrap:anywhere;">{title}</h1>
</td></tr>
<tr><td style="padding:10px 24px 4px 24px;">{CHART_SLOT}</td></tr>
<tr><td style="padding:4px 24px 10px 24px;">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0"
 style="font-size:14px;line-height:1.45;">
{rows}</table>
</td></tr>
<tr><td style="padding:4px 24px 16px 24px;">{buttons}</td></tr>
</table>
</td></tr>
</table>
</body>
</html>
"""


def slack_escape(text: str) -> str:
    """Escape the three characters that Slack reads as markup in a text object; it wants no others escaped."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _blocks(line: str, facts: Sequence[Fact]) -> list[dict[str, Any]]:
    """
    Lay the message out for Slack.

    Rich text takes its text literally, and a header is plain text, so ``*``, ``_``, ``~`` and backticks in a
    name stay what they are: mrkdwn has no escape for them.
    """
    header = line
    while len(slack_escape(header)) > _HEADER_LIMIT:
        header = elide(without_isolates(header), len(header) - 1)
    elements: list[dict[str, Any]] = []
    for fact in (fact for fact in facts if fact.url is None):
        elements.append({"type": "text", "text": f"{fact.label}: ", "style": {"bold": True}})
        elements.append({"type": "text", "text": f"{fact.text}\n"})
    for position, fact in enumerate(fact for fact in facts if fact.url is not None):
        if position:
            elements.append({"type": "text", "text": " · "})
        elements.append({"type": "link", "url": fact.url, "text": fact.label})
    return [
        {"type": "header", "text": {"type": "plain_text", "text": slack_escape(header), "emoji": False}},
        {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": elements}]},
    ]


def chart_note(text: str) -> dict[str, Any]:
    """Return a Slack block with a remark, such as that there is no chart."""
    return {
        "type": "context",
        "elements": [{"type": "plain_text", "text": slack_escape(text), "emoji": False}],
    }
