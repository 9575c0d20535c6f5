"""What an alert says: a first line and a few facts, composed once, laid out as text, HTML and Slack blocks.

Everything that came from a user (names, tags, addresses) is escaped where it is laid out. What is said is in
``headline`` and ``facts``, sending in ``channels``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.alerting.wording import elide, isolated, without_isolates
from anomstack_provider.config.about import About
from anomstack_provider.messages.facts import VERDICTS, Fact, command, event_fact, facts_of, link_facts
from anomstack_provider.messages.headline import Headline, headline
from anomstack_provider.messages.surroundings import Surroundings

# Stands in the HTML where the chart goes. No name can bring one along: every "<" from outside is escaped.
CHART_SLOT = "<!-- chart -->"
CHART_UNAVAILABLE = "Chart unavailable; the log of the task that sent this says why."

_HEADER_LIMIT = 150  # Slack refuses a longer header block.
_COLOURS = {"high": "#b3261e", "medium": "#9a5b00", "low": "#3f5773"}
_ENDED = {"closed": "#2a6a4b", "expired": "#4d5866"}
_UNTOLD, _UNKNOWN = About(), Surroundings()
# The last of them, a snooze, needs an end.
_ANSWER_HINT = f"VERDICT is {', '.join(VERDICTS[:-1])} or {VERDICTS[-1]} --for 3d"


@dataclass(frozen=True)
class Message:
    """
    One alert, ready for every channel.

    :param first_line: enough on its own: severity, what, how far from expected, when. One line, not escaped.
    :param text: the whole message as plain text, the first line included.
    :param html: the whole message as an HTML document with ``CHART_SLOT`` once in it.
    :param blocks: the whole message as Slack blocks.
    :param event_id: with ``transition`` what a channel derives a stable message id from.
    :param transition: the alert's key: ``opened``, ``closed``, ``expired``, or ``escalated`` with its bucket.
    :param charted: whether a chart belongs to it, which is said to be unavailable where it cannot be drawn.
    """

    first_line: str
    text: str
    html: str
    blocks: list[dict[str, Any]]
    event_id: str
    transition: str
    charted: bool = True


@dataclass(frozen=True)
class _Parts:
    """What a message is laid out from. ``answer``: the words of the command to answer with, none where links do."""

    head: Headline
    facts: Sequence[Fact]
    links: Sequence[Fact]
    actions: Sequence[Fact]
    answer: Sequence[str]
    event: Fact


def compose(
    alert: Alert,
    *,
    timezone: str,
    links: Mapping[str, str],
    about: About = _UNTOLD,
    around: Surroundings = _UNKNOWN,
    actions: Mapping[str, str] | None = None,
    answerable: bool = True,
) -> Message:
    """
    Return the message for an alert.

    :param timezone: IANA name of the zone that the batch's buckets follow and times are shown in.
    :param links: URL per name, such as ``Run`` or ``Query``, shown in this order behind those of ``about``.
    :param about: what the config tells of the metric.
    :param around: what else was known when the message was written.
    :param actions: URL per answer, such as ``False alarm``; without, the command that answers is shown.
    :param answerable: False shows no way to answer, of an event that no table knows.
    """
    parts = _Parts(
        head=headline(alert, timezone, about),
        facts=facts_of(alert, timezone, about, around),
        links=link_facts({"Runbook": about.runbook, "Dashboard": about.dashboard, **links}),
        actions=link_facts(actions or {}) if answerable else [],
        answer=command(alert) if answerable and not actions else [],
        event=event_fact(alert),
    )
    colour = _ENDED.get(alert.transition) or _COLOURS.get(alert.severity, _COLOURS["low"])
    return Message(
        first_line=parts.head.line,
        text=_text(parts),
        html=_html(parts, colour),
        blocks=_blocks(parts),
        event_id=alert.event_id,
        transition=alert.key,
    )


def _text(parts: _Parts) -> str:
    told = [*parts.facts, *parts.links]
    if parts.answer:
        told += [Fact("Answer", " ".join(parts.answer)), Fact("", _ANSWER_HINT)]
    told += [*parts.actions, parts.event]
    width = max(len(fact.label) for fact in told)
    return "\n".join([parts.head.line, "", *(f"{fact.label.ljust(width)}  {fact.text}" for fact in told), ""])


def _bdi(text: str) -> str:
    """Escape for HTML, in an element that keeps a right-to-left name from turning its neighbours around."""
    plain = without_isolates(text)
    return escape(plain) if plain == text else f"<bdi>{escape(plain)}</bdi>"


def _html(parts: _Parts, colour: str) -> str:
    """
    Lay the message out for mail readers: tables with inline styles are the only thing that all of them draw.

    The hidden paragraph is what a phone shows below the subject: the numbers, not the heading again.
    """
    head = parts.head
    rows = "".join(_row(fact, bold=not position) for position, fact in enumerate(parts.facts))
    rows += "".join(_row(fact) for fact in (*parts.links, *parts.actions) if fact.url is None)
    place = " &middot; ".join(filter(None, (_bdi(head.batch), escape(head.when))))
    preview = ". ".join(fact.text for fact in parts.facts[:2])
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(without_isolates(head.line))}</title>
</head>
<body style="margin:0;padding:0;background:#eef1f5;">
<p style="display:none;max-height:0;overflow:hidden;opacity:0;">{escape(preview)}</p>
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" style="background:#eef1f5;">
<tr><td align="center" style="padding:12px 6px;">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0"
 style="max-width:720px;background:#ffffff;border:1px solid #d9dfe7;border-top:5px solid {colour};
 border-radius:6px;font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;">
<tr><td style="padding:16px 16px 6px 16px;">
<p style="margin:0 0 6px 0;font-size:14px;color:#4d5866;overflow-wrap:anywhere;"><span style="display:inline-block;
padding:2px 8px;border-radius:4px;background:{colour};color:#ffffff;font-weight:700;letter-spacing:.04em;
">{escape(head.tag)}</span>&nbsp; {place}</p>
<h1 style="margin:0;font-size:21px;line-height:1.3;color:#1b2430;overflow-wrap:anywhere;">{_bdi(head.subject)}
{_bdi(head.finding)}</h1>
</td></tr>
<tr><td style="padding:8px 10px 4px 10px;">{CHART_SLOT}</td></tr>
<tr><td style="padding:4px 16px 8px 16px;">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0"
 style="font-size:15px;line-height:1.45;">
{rows}</table>
</td></tr>
{_buttons(parts.links, "#1b4f9c", "#ffffff")}{_buttons(parts.actions, "#eef1f5", "#1b2430")}{_answer(parts.answer)}\
<tr><td style="padding:2px 16px 14px 16px;font-size:12px;color:#5b6472;overflow-wrap:anywhere;">
{escape(parts.event.label)} {_bdi(parts.event.text)}</td></tr>
</table>
</td></tr>
</table>
</body>
</html>
"""


def _row(fact: Fact, *, bold: bool = False) -> str:
    return (
        '<tr><td style="padding:6px 14px 6px 0;color:#5b6472;vertical-align:top;white-space:nowrap;">'
        f'{escape(fact.label)}</td><td width="99%" style="padding:6px 0;color:#1b2430;vertical-align:top;'
        f'font-weight:{"700" if bold else "400"};overflow-wrap:anywhere;">{_bdi(fact.text)}</td></tr>\n'
    )


def _buttons(facts: Sequence[Fact], fill: str, ink: str) -> str:
    """Return a table row of links, large enough for a thumb; "" for none."""
    buttons = "".join(
        f'<a href="{escape(fact.url)}" style="display:inline-block;margin:0 8px 8px 0;padding:10px 14px;'
        f"border:1px solid #1b4f9c;border-radius:6px;background:{fill};color:{ink};text-decoration:none;"
        f'font-size:15px;">{escape(fact.label)}</a>\n'
        for fact in facts
        if fact.url is not None
    )
    return f'<tr><td style="padding:2px 16px 4px 16px;">\n{buttons}</td></tr>\n' if buttons else ""


def _answer(words: Sequence[str]) -> str:
    """Return a table row with the command that answers; "" for none."""
    if not words:
        return ""
    # Words of their own, lest a name from right to left turns the date behind it around.
    text = " ".join(_bdi(isolated(word)) for word in words)
    return (
        '<tr><td style="padding:2px 16px 8px 16px;font-size:13px;color:#4d5866;">Answer with\n'
        '<code dir="ltr" style="display:block;margin:4px 0;padding:8px;border-radius:4px;background:#eef1f5;'
        f'color:#1b2430;font-size:13px;overflow-wrap:anywhere;">{text}</code>\n'
        f"{_ANSWER_HINT}</td></tr>\n"
    )


def slack_escape(text: str) -> str:
    """Escape the three characters that Slack reads as markup in a text object; it wants no others escaped."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _blocks(parts: _Parts) -> list[dict[str, Any]]:
    """
    Lay the message out for Slack.

    Rich text takes its text literally, and a header is plain text, so ``*``, ``_``, ``~`` and backticks in a
    name stay what they are: mrkdwn has no escape for them.
    """
    header = parts.head.line
    while len(slack_escape(header)) > _HEADER_LIMIT:
        header = elide(without_isolates(header), len(header) - 1)
    elements: list[dict[str, Any]] = []
    for fact in (*parts.facts, *(fact for fact in (*parts.links, *parts.actions) if fact.url is None)):
        label = f"{fact.label}: " if not elements else f"\n{fact.label}: "
        elements.append({"type": "text", "text": label, "style": {"bold": True}})
        elements.append({"type": "text", "text": fact.text})
    rich = [_section(elements), *(_section(_row_of_links(row)) for row in (parts.links, parts.actions) if row)]
    if parts.answer:
        rich += [
            _section([{"type": "text", "text": "Answer with", "style": {"bold": True}}]),
            {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": " ".join(parts.answer)}]},
            _section([{"type": "text", "text": _ANSWER_HINT}]),
        ]
    return [
        {"type": "header", "text": {"type": "plain_text", "text": slack_escape(header), "emoji": False}},
        {"type": "rich_text", "elements": [part for part in rich if part["elements"]]},
        chart_note(f"{parts.event.label} {parts.event.text}"),
    ]


def _section(elements: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "rich_text_section", "elements": elements}


def _row_of_links(facts: Sequence[Fact]) -> list[dict[str, Any]]:
    """Return links with dots between them."""
    found: list[dict[str, Any]] = []
    for fact in facts:
        if fact.url is not None:
            found += [{"type": "text", "text": " · "}] if found else []
            found.append({"type": "link", "url": fact.url, "text": fact.label})
    return found


def chart_note(text: str) -> dict[str, Any]:
    """Return a Slack block with a remark in small letters, such as that there is no chart."""
    return {
        "type": "context",
        "elements": [{"type": "plain_text", "text": slack_escape(text), "emoji": False}],
    }
