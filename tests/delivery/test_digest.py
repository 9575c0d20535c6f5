"""What one message about many transitions says; golden files beside those of single alerts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.delivery.channels.email import compose_mail
from anomstack_provider.delivery.digest import by_impact, compose_group, distance_outside
from anomstack_provider.messages.message import CHART_SLOT

LINKS = {"Run": "https://airflow/run?a=1&b=<2>", "Odd": "javascript:alert(1)"}


def line(alert: Alert) -> str:
    return f"[{alert.severity.upper()}] {alert.metric_name} {alert.transition}"


@pytest.fixture
def storm(make_alert: Callable[..., Alert]) -> list[Alert]:
    return [
        make_alert(event_id="a", metric_name="small & <b>*bold*</b>", severity="medium", value=0.52),
        make_alert(event_id="b", metric_name="large", severity="medium", value=0.9),
        make_alert(event_id="c", metric_name="worst", severity="high", value=0.52),
        make_alert(event_id="d", metric_name="over", severity="high", transition="closed"),
        make_alert(event_id="e", metric_name="no value", severity="low", value=None, score=None),
        *(make_alert(event_id=f"f{i}", metric_name=f"other {i}", severity="low", value=0.5) for i in range(6)),
        make_alert(event_id="g", metric_name="מכירות", severity="medium", value=0.7),
    ]


def test_a_storm(storm: list[Alert], golden: Callable[[str, str], None]) -> None:
    message = compose_group(storm, "storm", line, LINKS)
    assert message.first_line == "[HIGH] flights · 11 alerts at once (1 high, 3 medium, 7 low), 1 ended"
    golden("storm.txt", message.text)
    golden("storm.html", message.html)
    golden("storm.blocks.json", json.dumps(message.blocks, indent=2, ensure_ascii=False) + "\n")
    assert message.html.count(CHART_SLOT) == 1
    assert "<b>" not in message.html
    assert "javascript" not in message.text + message.html + json.dumps(message.blocks)


def test_a_digest(storm: list[Alert], golden: Callable[[str, str], None]) -> None:
    golden("digest.txt", compose_group(storm * 2, "digest", line, {}).text)


def test_the_worst_come_first(storm: list[Alert]) -> None:
    names = [alert.metric_name for alert in by_impact(storm)]
    assert names[:4] == ["worst", "large", "מכירות", "small & <b>*bold*</b>"]
    assert names[-1] == "over"  # what has ended can wait, whatever it was


def test_when_all_of_it_is_over_the_first_line_raises_no_alarm(make_alert: Callable[..., Alert]) -> None:
    ends = [make_alert(event_id=str(i), transition="closed") for i in range(12)]
    assert compose_group(ends, "storm", line, {}).first_line == "[ENDED] flights · 12 alerts ended, at once"


def test_routine_messages_are_no_alerts_and_come_behind_them(make_alert: Callable[..., Alert]) -> None:
    routine = [make_alert(event_id=str(i), transition="routine", severity="low") for i in range(11)]
    assert compose_group(routine, "storm", line, {}).first_line == "[ROUTINE] flights · 11 routine messages at once"
    alert = make_alert(event_id="a", severity="low", value=None, metric_name="real")
    message = compose_group([*routine, alert], "storm", line, {})
    assert message.first_line == "[LOW] flights · 1 alert at once (1 low), 11 routine"
    assert message.text.split("\n\n")[1].splitlines()[0] == "[LOW] real opened"
    end = make_alert(event_id="b", transition="closed")
    assert compose_group([*routine, end], "digest", line, {}).first_line == (
        "[ENDED] flights · 1 alert ended, in the digest, 11 routine"
    )


@pytest.mark.parametrize(
    ("changes", "distance"),
    [
        ({"value": 0.6, "lower": 0.3, "upper": 0.5}, 0.5),
        ({"value": 0.1, "lower": 0.3, "upper": 0.5}, 1.0),
        ({"value": 0.4, "lower": 0.3, "upper": 0.5}, 0.0),
        ({"value": 30.0, "lower": None, "upper": 10.0}, 2.0),
        ({"value": 0.0, "lower": 10.0, "upper": None}, 1.0),
        ({"value": 3.0, "lower": 0.0, "upper": 0.0}, 3.0),
        ({"value": None}, 0.0),
        ({"value": float("nan")}, 0.0),
        ({"value": 1.0, "lower": None, "upper": None}, 0.0),
    ],
)
def test_how_far_outside(make_alert: Callable[..., Alert], changes: dict[str, Any], distance: float) -> None:
    assert distance_outside(make_alert(**changes)) == pytest.approx(distance)


def test_one_that_cannot_be_worded_does_not_keep_the_others_back(storm: list[Alert]) -> None:
    def broken(alert: Alert) -> str:
        raise ValueError(alert)

    assert "[HIGH] worst opened" in compose_group(storm, "storm", broken, {}).text


def test_the_same_transitions_are_the_same_mail_in_a_thread_of_its_own(storm: list[Alert]) -> None:
    def mail(alerts: list[Alert]) -> Any:
        message = compose_group(alerts, "storm", line, {})
        return compose_mail(message, b"png", "storm.png", sender="a@example.com", recipients=["b@example.com"])

    assert mail(storm)["Message-ID"] == mail(storm[::-1])["Message-ID"] != mail(storm[1:])["Message-ID"]
    assert mail(storm)["In-Reply-To"] is None


def test_a_thousand_long_names_stay_within_what_slack_takes(make_alert: Callable[..., Alert]) -> None:
    alerts = [make_alert(event_id=str(i), metric_name=f"{i} " + "n" * 500, metric_batch="b" * 200) for i in range(1000)]
    start = time.perf_counter()
    message = compose_group(alerts, "digest", line, LINKS)
    assert time.perf_counter() - start < 1
    assert len(message.blocks[0]["text"]["text"]) <= 150
    assert len(json.dumps(message.blocks)) < 13_000
    assert "and 980 more: 980 opened; 980 metrics" in message.text
