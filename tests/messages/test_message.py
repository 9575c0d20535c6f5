"""What the messages say, to the letter, and that no name can break out of its place in them."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.alerting.wording import one_line
from anomstack_provider.config.about import About
from anomstack_provider.messages.headline import headline
from anomstack_provider.messages.message import CHART_SLOT, Message, chart_note, compose
from anomstack_provider.messages.surroundings import Surroundings

LINKS = {
    "Run": "https://airflow.example.com/dags/flights/runs/scheduled__2013-02-09T05%3A00%3A00",
    "Query": "https://airflow.example.com/dags/flights/runs/scheduled__2013/tasks/ingest/rendered_templates",
}
HOSTILE = "<b onclick='x'>&amp; *bold* _it_ ~no~ `code` <!channel> <@U1>\r\nBcc: evil@example.com \u202eabc"

NOON = datetime(2024, 7, 1, 12, tzinfo=UTC)
HOURLY: dict[str, Any] = {
    "metric_batch": "web",
    "metric_name": "orders",
    "grain": "1h",
    "bucket": NOON,
    "direction": "down",
    "value": 1161.0,
    "expected": 2001.7,
    "lower": 1800.0,
    "upper": 2200.4,
    "severity": "medium",
    "tags": (),
}
LASTING = {"first_bucket": NOON - timedelta(hours=3), "last_bucket": NOON, "fired": 4}
WORST = {"peak_bucket": NOON - timedelta(hours=2), "peak_value": 900.0, "peak_expected": 1990.0}
NO_SCORE = {"expected": None, "score": None, "threshold": None}
LATE = HOURLY | NO_SCORE | {"kind": "late", "direction": "none", "value": None, "lower": None, "upper": None}
MODEL = {"kind": "llm", "why": ("A language model (gpt-5) named it",), "severity": "low"}
MODEL |= {"says": "Orders fell to 1161 at noon although the 14 noons before lie between 1850 and 2150."}

CASES: dict[str, tuple[dict[str, Any], str]] = {
    "ordinary": ({}, "America/New_York"),
    "hourly": (HOURLY, "Europe/Berlin"),
    "escalated": (
        HOURLY
        | LASTING
        | WORST
        | {"transition": "escalated", "why": ("Its last 3 buckets lie below the usual range.",)},
        "Europe/Berlin",
    ),
    "closed_event": (
        HOURLY | LASTING | WORST | {"transition": "closed", "bucket": NOON + timedelta(hours=1), "value": 1998.0},
        "Europe/Berlin",
    ),
    "expired": (HOURLY | {"transition": "expired", "first_bucket": NOON - timedelta(days=7)}, "Europe/Berlin"),
    "threshold": (
        HOURLY
        | NO_SCORE
        | {"kind": "threshold", "lower": 1500.0, "upper": None, "why": ("below the lower threshold",)},
        "Europe/Berlin",
    ),
    "change": (HOURLY | {"kind": "change", "lower": None, "upper": None, "score": None}, "Europe/Berlin"),
    "llm": (HOURLY | NO_SCORE | MODEL | {"expected": 2001.7}, "Europe/Berlin"),
    "llm_alone": (
        HOURLY | NO_SCORE | MODEL | {"lower": None, "upper": None, "transition": "escalated"},
        "Europe/Berlin",
    ),
    "llm_closed": (HOURLY | LASTING | WORST | {"kind": "llm", "transition": "closed", "score": None}, "Europe/Berlin"),
    "llm_expired": (HOURLY | LASTING | {"kind": "llm", "transition": "expired", "score": None}, "Europe/Berlin"),
    "llm_beside": ({"says": "62 % on a Friday; the ten Fridays before lie between 1 and 4 %."}, "America/New_York"),
    "late": (LATE | {"why": ("no row since 10 h, a row is due every 1 h",)}, "Europe/Berlin"),
    "late_batch": (LATE | LASTING | {"metrics": ("orders", "visits"), "transition": "escalated"}, "Europe/Berlin"),
    "no_expectation": ({"expected": None, "lower": None, "upper": None, "severity": "low"}, "UTC"),
    "expected_zero": ({"value": 12_345.0, "expected": 0.0, "lower": -2.0, "upper": 4.0}, "America/New_York"),
    "huge": ({"value": 1.5e12, "expected": 1.2e12, "lower": 1.1e12, "upper": 1.3e12}, "America/New_York"),
    "negative": (
        {"value": -1500.0, "expected": -800.0, "lower": -900.0, "upper": -700.0, "direction": "down"},
        "America/New_York",
    ),
    "tiny": ({"value": 3e-7, "expected": 1e-7, "lower": 0.0, "upper": 2e-7}, "America/New_York"),
    "close": ({"value": 100.4, "expected": 100.2, "lower": 100.1, "upper": 100.3}, "America/New_York"),
    "no_value": ({"value": math.nan, "tags": ()}, "America/New_York"),
    "long_names": (
        {"metric_batch": "batch_" * 20, "metric_name": "metric_" * 40 + "LGA"},
        "America/New_York",
    ),
    "right_to_left": ({"metric_batch": "עסקים", "metric_name": "מדד_الطلبات"}, "Asia/Jerusalem"),
    "hostile": (
        {"metric_batch": HOSTILE, "metric_name": HOSTILE, "tags": ((HOSTILE, HOSTILE),), "note": HOSTILE}
        | {"says": HOSTILE},
        "UTC",
    ),
    "closed": ({"transition": "closed"}, "America/New_York"),
    "holiday": ({"note": "Holiday: Lincoln's Birthday"}, "America/New_York"),
}


ABOUT = About("Orders", "EUR", "Shop team", "https://wiki.example.com/orders", "https://bi.example.com/orders")
AROUND = Surroundings(
    season_bucket=NOON - timedelta(days=7),
    season_value=1980.0,
    last_alert=NOON - timedelta(days=90),
    upstream="DAG load_orders succeeded at Mon 1 Jul 14:55 CEST",
)
TOLD = HOURLY | LASTING | WORST | {"severity": "high", "transition": "escalated", "tags": (("shop", "DE"),)}
TOLD |= {"why": ("Below the usual range in 4 buckets.",), "gates": ("At least 20 % away.", "In active hours.")}
TOLD |= {"note": "Summer sale"}
ANSWER_KEYS = {"Real": "real", "False alarm": "false_alarm", "New normal": "new_normal", "Snooze": "snooze"}
ACTIONS = {name: f"https://airflow.example.com/anomstack/feedback?answer={key}" for name, key in ANSWER_KEYS.items()}
FULL: dict[str, dict[str, Any]] = {
    "full": {"about": ABOUT, "around": AROUND},
    "actions": {"about": ABOUT, "around": AROUND, "actions": ACTIONS},
}


@pytest.fixture(params=[*CASES, *FULL])
def case(request: pytest.FixtureRequest, make_alert: Callable[..., Alert]) -> tuple[str, Message]:
    changes, timezone = CASES.get(request.param, (TOLD, "Europe/Berlin"))
    more = FULL.get(request.param, {})
    return request.param, compose(make_alert(**changes), timezone=timezone, links=LINKS, **more)


def test_text(case: tuple[str, Message], golden: Callable[[str, str], None]) -> None:
    name, message = case
    golden(f"{name}.txt", message.text)


def test_blocks(case: tuple[str, Message], golden: Callable[[str, str], None]) -> None:
    name, message = case
    if name in ("ordinary", "hostile", "full", "actions", "late", "right_to_left"):
        golden(f"{name}.blocks.json", json.dumps(message.blocks, indent=1, ensure_ascii=False) + "\n")


def test_html(case: tuple[str, Message], golden: Callable[[str, str], None]) -> None:
    name, message = case
    if name in ("ordinary", "hostile", "full", "actions", "late", "right_to_left"):
        golden(f"{name}.html", message.html)


def test_the_first_line_is_one_line_and_leads_the_text(case: tuple[str, Message]) -> None:
    _, message = case
    assert message.text.splitlines()[0] == message.first_line
    assert message.first_line.startswith("[")
    assert len(message.first_line) <= 200
    assert message.first_line.isprintable() or "\u2068" in message.first_line


def test_the_first_line_says_what_a_phone_has_to(make_alert: Callable[..., Alert]) -> None:
    message = compose(make_alert(), timezone="America/New_York", links={})
    assert message.first_line == "[HIGH] flights · cancelled_share_LGA 42 % above expected: 0.621 (Fri 8 Feb)"


def test_a_channel_can_tell_two_escalations_apart(make_alert: Callable[..., Alert]) -> None:
    one = compose(make_alert(transition="escalated"), timezone="UTC", links={})
    later = make_alert(transition="escalated", bucket=make_alert().bucket + timedelta(days=1))
    other = compose(later, timezone="UTC", links={})
    assert one.event_id == other.event_id
    assert one.transition != other.transition
    assert compose(make_alert(), timezone="UTC", links={}).transition == "opened"


class _Tags(HTMLParser):
    """Collects the tags and texts that a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.comments: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def parsed(html: str) -> _Tags:
    tags = _Tags()
    tags.feed(html)
    return tags


@pytest.mark.parametrize("text", [HOSTILE, one_line(HOSTILE)])
def test_no_name_becomes_html(make_alert: Callable[..., Alert], text: str) -> None:
    name = f"{text}{CHART_SLOT}<script>alert(1)</script>\"'"
    hostile = make_alert(metric_batch=name, metric_name=name, tags=((name, name),), kind=name, event_id=name)
    plain = compose(make_alert(), timezone="UTC", links=LINKS)
    message = compose(replace(hostile, why=(name,), gates=(name,), note=name, says=name), timezone="UTC", links=LINKS)
    assert _kinds(message.html) == _kinds(plain.html)
    assert message.html.count(CHART_SLOT) == 1
    assert any("<script>alert(1)</script>" in text for text in parsed(message.html).texts)


def _kinds(html: str) -> set[str]:
    return {tag for tag, _ in parsed(html).tags} - {"code"}


def test_only_web_addresses_become_links(make_alert: Callable[..., Alert]) -> None:
    links = {"Run": "javascript:alert(1)", "DAG": "https://a.example/?q=\"'><x>&y= z"}
    message = compose(make_alert(), timezone="UTC", links=links)
    tags = parsed(message.html)
    assert [attrs["href"] for tag, attrs in tags.tags if tag == "a"] == ["https://a.example/?q=\"'><x>&y=z"]
    addresses = [element["url"] for element in _elements(message.blocks) if element.get("type") == "link"]
    assert addresses == ["https://a.example/?q=\"'><x>&y=z"]
    assert "javascript:alert(1)" in message.text


def _elements(blocks: object) -> Iterator[dict[str, Any]]:
    """Walk through all objects of some Slack blocks."""
    if isinstance(blocks, dict):
        yield blocks
        for value in blocks.values():
            yield from _elements(value)
    elif isinstance(blocks, list):
        for value in blocks:
            yield from _elements(value)


def test_slack_gets_no_markup_from_outside(case: tuple[str, Message]) -> None:
    _, message = case
    objects = list(_elements([*message.blocks, chart_note("<!here> & *x*")]))
    assert not [found for found in objects if found.get("type") == "mrkdwn"]
    for found in objects:
        if found.get("type") == "plain_text":
            assert not set(found["text"]) & set("<>")
            assert found["emoji"] is False
    header = message.blocks[0]["text"]["text"]
    assert 0 < len(header) <= 150


def test_a_reason_to_alert_is_never_a_bare_score(case: tuple[str, Message]) -> None:
    name, message = case
    scoreless = ("threshold", "change", "llm", "llm_alone", "llm_closed", "llm_expired", "late", "late_batch")
    if name not in (*scoreless, "closed", "closed_event"):
        assert "nomaly score 0.93 on a scale from 0 (usual) to 1 (extreme), alerts start at 0.8." in message.text
    assert "0.93" not in message.first_line
    assert "None" not in message.text
    assert "nan" not in message.text.lower().split()


def test_the_command_that_answers_is_taken_by_a_shell_as_it_is(make_alert: Callable[..., Alert]) -> None:
    name = 'it\'s $(rm -rf /) `x` \\ "q" ; | & > 100 %'
    alert = make_alert(metric_batch="b c", metric_name=name)
    text = compose(alert, timezone="UTC", links={}).text
    (line,) = [line for line in text.splitlines() if line.startswith("Answer")]
    words = shlex.split(line.removeprefix("Answer"))
    assert words == ["anomstack", "feedback", "b c", name, "2013-02-08T05:00:00Z", "VERDICT", "--event", alert.event_id]


def test_the_command_names_the_first_bucket_of_the_event(make_alert: Callable[..., Alert]) -> None:
    text = compose(make_alert(**TOLD), timezone="Europe/Berlin", links={}).text
    assert "anomstack feedback web orders 2024-07-01T09:00:00Z VERDICT" in text


@pytest.mark.parametrize("name", ["a\nb", "a\u202eb", "a" * 500, "-a"])
def test_a_name_that_no_shell_takes_gives_no_command(make_alert: Callable[..., Alert], name: str) -> None:
    assert "anomstack feedback" not in compose(make_alert(metric_name=name), timezone="UTC", links={}).text


def test_links_to_answers_take_the_place_of_the_command(make_alert: Callable[..., Alert]) -> None:
    message = compose(make_alert(), timezone="UTC", links=LINKS, actions=ACTIONS)
    assert "anomstack feedback" not in message.text
    addresses = [attrs["href"] for tag, attrs in parsed(message.html).tags if tag == "a"]
    assert addresses == [*LINKS.values(), *ACTIONS.values()]
    assert [e["url"] for e in _elements(message.blocks) if e.get("type") == "link"] == addresses


VALUES = st.sampled_from([None, math.nan, math.inf, -math.inf, 0.0, -0.0, 1e308, -1e308, 5e-324, 42.0, -42.0])
TIMES = st.none() | st.datetimes(datetime(2013, 1, 1), datetime(2013, 4, 1), timezones=st.just(UTC))
ALERTS = st.builds(
    Alert,
    event_id=st.just("e"),
    metric_batch=st.text(),
    metric_name=st.text(),
    kind=st.sampled_from(["anomaly", "threshold", "change", "late", "other"]),
    transition=st.sampled_from(["opened", "escalated", "closed", "expired"]),
    direction=st.sampled_from(["up", "down", "none"]),
    bucket=TIMES.filter(lambda time: time is not None),
    grain=st.sampled_from(["instant", "5min", "1h", "6h", "1d", "2d", "1w", "1mo", "3mo"]),
    value=VALUES,
    expected=VALUES,
    lower=VALUES,
    upper=VALUES,
    score=VALUES,
    threshold=VALUES,
    severity=st.sampled_from(["low", "medium", "high"]),
    why=st.lists(st.text(), max_size=2).map(tuple),
    gates=st.lists(st.text(), max_size=2).map(tuple),
    first_bucket=TIMES,
    last_bucket=TIMES,
    peak_bucket=TIMES,
    peak_value=VALUES,
    peak_expected=VALUES,
    metrics=st.lists(st.text(), max_size=12).map(tuple),
)
AROUNDS = st.builds(Surroundings, season_bucket=TIMES, season_value=VALUES, last_alert=TIMES, upstream=st.text())


@given(ALERTS, AROUNDS, st.builds(About, title=st.none() | st.text(), unit=st.none() | st.text()))
def test_whatever_an_alert_holds_has_a_message(alert: Alert, around: Surroundings, about: About) -> None:
    message = compose(alert, timezone="America/New_York", links=LINKS, about=about, around=around)
    assert message.first_line.startswith("[")
    assert len(message.first_line.splitlines()) == 1
    found = headline(alert, "America/New_York", About(title="m")).finding.split()
    assert not {"nan", "None", "inf", "-inf"} & set(found)
    assert 0 < len(message.blocks[0]["text"]["text"]) <= 150
    assert message.html.count(CHART_SLOT) == 1
