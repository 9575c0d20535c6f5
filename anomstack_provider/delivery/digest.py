"""
What one message about many transitions says: the worst ones in a line each, the others in counts.

How a single alert is worded is in ``message``; here its first line is taken as it is.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, Literal

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.alerting.wording import elide, isolated, known, one_line
from anomstack_provider.delivery.holding import CLOSING, ROUTINE, SEVERITIES, rank
from anomstack_provider.messages.message import CHART_SLOT, Message, slack_escape

# A storm is read on a phone, a digest at a desk.
_SHOWN = {"storm": 5, "digest": 20}
_HEADER_LIMIT = 150  # Slack refuses a longer header block.
_LINE_LIMIT = 300
_BOX = (
    "max-width:720px;margin:0 auto;padding:20px 24px;background:#ffffff;color:#1b2430;"
    "font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;font-size:14px;line-height:1.45;"
)


def by_impact(alerts: Sequence[Alert]) -> list[Alert]:
    """Return the alerts worst first: what goes on, what has ended, routine; each by severity and distance."""
    return sorted(
        alerts,
        key=lambda alert: (
            alert.transition == ROUTINE,
            alert.transition in CLOSING,
            -rank(alert.severity),
            -distance_outside(alert),
            alert.bucket,
        ),
    )


def distance_outside(alert: Alert) -> float:
    """Return how far the value is outside its range, in widths of the range; 0 where there is none."""
    value, lower, upper = known(alert.value), known(alert.lower), known(alert.upper)
    if value is None or (lower is None and upper is None):
        return 0.0
    away = max(0.0 if lower is None else lower - value, 0.0 if upper is None else value - upper, 0.0)
    width = upper - lower if lower is not None and upper is not None else 0.0
    # Values of different metrics have no common unit, so a range without a width is measured by its end.
    scale = width or abs((upper if lower is None else lower) or 0.0) or 1.0
    return away / scale


def compose_group(
    alerts: Sequence[Alert],
    kind: Literal["storm", "digest"],
    line: Callable[[Alert], str],
    links: Mapping[str, str],
) -> Message:
    """
    Return one message about many transitions of a batch.

    :param kind: ``storm`` for what one run found at once, ``digest`` for what was beyond the budget.
    :param line: gives the first line of an alert's own message.
    :param links: URL per name.
    """
    worst = by_impact(alerts)
    shown = [_line(alert, line) for alert in worst[: _SHOWN[kind]]]
    first = _first_line(worst, kind)
    rest = _counts(worst[len(shown) :])
    notes = [rest] if rest else []
    if kind == "digest":
        notes.append("These were beyond the week's budget of this channel, see budget_per_week.")
    # "opened", of a thread of its own: nothing replies to it, and it replies to nothing.
    return lay_out(first, shown, notes, links, (_id(alerts), "opened"))


def lay_out(
    first: str,
    shown: Sequence[str],
    notes: Sequence[str],
    links: Mapping[str, str],
    key: tuple[str, str],
    *,
    charted: bool = True,
) -> Message:
    """
    Return a message of a first line, a numbered list and notes below it, for every channel.

    :param links: URL per name; an address that no browser should follow is left out.
    :param key: event id and transition, from which a channel derives a stable message id.
    """
    followed = {one_line(name): url for name, url in links.items() if url.lower().startswith(("https://", "http://"))}
    return Message(
        first_line=first,
        text=_text(first, shown, notes, followed),
        html=_html(first, shown, notes, followed),
        blocks=_blocks(first, shown, notes, followed),
        event_id=key[0],
        transition=key[1],
        charted=charted,
    )


def _first_line(worst: Sequence[Alert], kind: str) -> str:
    """Say what goes on, by severity, and how much is over: ``[HIGH] web · 12 alerts at once (...), 3 ended``."""
    batch = isolated(elide(one_line(worst[0].metric_batch), 40))
    where = "at once" if kind == "storm" else "in the digest"
    routine = sum(alert.transition == ROUTINE for alert in worst)
    ended = sum(alert.transition in CLOSING for alert in worst)
    going_on = [alert for alert in worst if alert.transition not in CLOSING and alert.transition != ROUTINE]
    beside = f", {routine} routine" if routine else ""
    if routine == len(worst):
        return f"[ROUTINE] {batch} · {routine} routine messages {where}"
    if not going_on:
        return f"[ENDED] {batch} · {_alerts(ended)} ended, {where}{beside}"
    severities = Counter(SEVERITIES[rank(alert.severity)] for alert in going_on)
    said = [f"{severities[name]} {name}" for name in reversed(SEVERITIES) if severities[name]]
    top = said[0].partition(" ")[2].upper()
    first = f"[{top}] {batch} · {_alerts(len(going_on))} {where} ({', '.join(said)})"
    return f"{first}, {ended} ended{beside}" if ended else f"{first}{beside}"


def _alerts(count: int) -> str:
    return f"{count} alert{'' if count == 1 else 's'}"


def _line(alert: Alert, line: Callable[[Alert], str]) -> str:
    try:
        return elide(one_line(line(alert)), _LINE_LIMIT)
    except Exception:
        # One alert that cannot be worded must not keep the others from being told.
        return elide(one_line(f"[{alert.severity.upper()}] {alert.metric_name} {alert.transition}"), _LINE_LIMIT)


def _counts(alerts: Sequence[Alert]) -> str:
    """Say how many others there are: ``and 27 more: 20 opened, 7 closed; 25 metrics``."""
    if not alerts:
        return ""
    transitions = Counter(alert.transition for alert in alerts)
    said = ", ".join(f"{count} {one_line(name)}" for name, count in transitions.most_common())
    metrics = len({alert.metric_name for alert in alerts})
    return f"and {len(alerts)} more: {said}; {metrics} {'metric' if metrics == 1 else 'metrics'}"


def _id(alerts: Sequence[Alert]) -> str:
    """Return the same id for the same transitions, so that a mail sent twice is shown once."""
    text = "\n".join(sorted(f"{alert.event_id} {alert.key}" for alert in alerts))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _text(first: str, shown: Sequence[str], notes: Sequence[str], links: Mapping[str, str]) -> str:
    parts = [[first], shown, notes, [f"{name}  {url}" for name, url in links.items()]]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _html(first: str, shown: Sequence[str], notes: Sequence[str], links: Mapping[str, str]) -> str:
    lines = "".join(f'<li style="margin:0 0 8px 0;overflow-wrap:anywhere;">{escape(line)}</li>' for line in shown)
    said = "".join(f'<p style="margin:8px 0;color:#5b6472;">{escape(note)}</p>' for note in notes)
    anchors = " &middot; ".join(f'<a href="{escape(url)}">{escape(name)}</a>' for name, url in links.items())
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"></head>\n<body style="margin:0;background:#f3f5f8;">\n'
        f'<div style="{_BOX}">\n<h1 style="margin:0 0 12px 0;font-size:20px;line-height:1.3;">{escape(first)}</h1>\n'
        f'<ol style="margin:0;padding-left:22px;">{lines}</ol>\n{said}\n{CHART_SLOT}\n<p>{anchors}</p>\n'
        "</div>\n</body>\n</html>\n"
    )


def _blocks(first: str, shown: Sequence[str], notes: Sequence[str], links: Mapping[str, str]) -> list[dict[str, Any]]:
    """Lay it out for Slack; rich text takes its text literally, so no name can be markup."""
    header = first
    while len(slack_escape(header)) > _HEADER_LIMIT:
        header = elide(header, len(header) - 1)
    items = [{"type": "rich_text_section", "elements": [{"type": "text", "text": line}]} for line in shown]
    elements: list[dict[str, Any]] = [{"type": "rich_text_list", "style": "ordered", "elements": items}]
    below: list[dict[str, Any]] = [{"type": "text", "text": f"{note}\n"} for note in notes]
    for position, (name, url) in enumerate(links.items()):
        below += [{"type": "text", "text": " · "}] if position else []
        below.append({"type": "link", "url": url, "text": name})
    if below:
        elements.append({"type": "rich_text_section", "elements": below})
    return [
        {"type": "header", "text": {"type": "plain_text", "text": slack_escape(header), "emoji": False}},
        {"type": "rich_text", "elements": elements},
    ]
