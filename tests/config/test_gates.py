"""alert_gates and metric_settings: what they accept, what they say of mistakes, and which of them hold for a metric."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from anomstack_provider.config.about import About
from anomstack_provider.config.cautions import cautions
from anomstack_provider.config.gates import Gates, hours
from anomstack_provider.config.spec import BatchSpec, check
from tests.config.conftest import MetricsFolder

SMALLEST = {"metric_batch": "sales", "ingest_sql": "select 1"}


def spec(**keys: object) -> BatchSpec:
    return BatchSpec.model_validate({**SMALLEST, **keys})


def problems(**keys: object) -> list[tuple[str | None, str]]:
    found, wrong = check({**SMALLEST, **keys})
    assert found is None
    return [(problem.key, problem.message) for problem in wrong]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mon-Tue 08:00-20:00", ((0, 480, 1200), (1, 480, 1200))),
        ("Sat-Mon", ((0, 0, 1440), (5, 0, 1440), (6, 0, 1440))),
        ("friday 22:00-06:00", ((4, 1320, 1800),)),
        ("Sat 10:00-14:00, Sun 11:00-12:00", ((5, 600, 840), (6, 660, 720))),
    ],
)
def test_hours_of_the_week(text: str, expected: Any) -> None:
    assert hours(text) == expected


def test_hours_without_days_are_those_of_every_day() -> None:
    assert hours("08:00-20:00") == tuple((day, 480, 1200) for day in range(7))


@pytest.mark.parametrize(
    ("gates", "key", "said"),
    [
        ({"min_abs": 1}, "alert_gates.min_abs", "unknown key; did you mean 'min_abs_change'?"),
        ({"direction": "sideways"}, "alert_gates.direction", "expected one of both, up or down, got 'sideways'"),
        ({"min_pct_change": 0}, "alert_gates.min_pct_change", "expected more than 0, got 0"),
        ({"min_volume": {"metric": "orders"}}, "alert_gates.min_volume.at_least", "is missing"),
        ({"valid_range": {}}, "alert_gates.valid_range", "give upper, lower or both"),
        ({"valid_range": {"lower": 2, "upper": 1}}, "alert_gates.valid_range", "lower (2) is above upper (1)"),
        (
            {"active_hours": "9 to 5"},
            "alert_gates.active_hours",
            "expected hours such as Mon-Fri 08:00-20:00, several with commas, got '9 to 5'",
        ),
        (
            {"active_hours": "Mom 08:00-20:00"},
            "alert_gates.active_hours",
            "unknown weekday 'Mom'; write Mon, Tue, Wed, Thu, Fri, Sat or Sun",
        ),
        (
            {"active_hours": "08:00-25:00"},
            "alert_gates.active_hours",
            "'25:00' is no time of day; write 00:00 to 24:00",
        ),
        (
            {"maintenance": [{"start": "2024-03-01"}]},
            "alert_gates.maintenance[0].end",
            "is missing; give start and end, or cron and duration",
        ),
        (
            {"maintenance": [{"start": "2024-03-01", "end": "2024-02-01"}]},
            "alert_gates.maintenance[0].end",
            "expected an end after start (2024-03-01 00:00:00), got 2024-02-01 00:00:00",
        ),
        (
            {"maintenance": [{"cron": "0 2 * * 0"}]},
            "alert_gates.maintenance[0].duration",
            "is missing; give how long it lasts, such as 2h",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_mistake_is_said_with_its_place(gates: dict[str, Any], key: str, said: str) -> None:
    assert problems(alert_gates=gates) == [(key, said)]


def test_a_mistake_in_a_metrics_own_gates_is_said_with_its_place() -> None:
    wrong = {"m_*": {"alert_gates": {"maintenance": [{"cron": "0 2 * * 0"}]}}}
    assert problems(metric_settings=wrong)[0][0] == "metric_settings.m_*.alert_gates.maintenance[0].duration"
    assert problems(metric_settings={"m": {"prio": "high"}}) == [
        ("metric_settings.m.prio", "unknown key; did you mean 'priority'?")
    ]


def test_a_mistake_in_a_file_names_file_line_and_key(folder: MetricsFolder) -> None:
    text = "metric_batch: b\ningest_sql: select 1\nalert_gates:\n  direction: up\n  active_hours: sometimes\n"
    folder.write("b.yaml", text)
    (error,) = folder.errors()
    assert error.startswith("b.yaml:5: alert_gates.active_hours: unknown weekday 'sometimes'")


def test_the_last_entry_that_fits_wins_key_by_key() -> None:
    batch = spec(
        alert_gates={"direction": "up", "min_abs_change": 5},
        metric_settings={
            "revenue_*": {"unit": "EUR", "owner": "sales", "priority": "high", "alert_gates": {"direction": "down"}},
            "revenue_de": {"title": "Revenue", "owner": None, "alert_gates": {"min_abs_change": None}},
            "odd[1]": {"unit": "ms"},
        },
    )
    assert batch.about("revenue_de") == About(title="Revenue", unit="EUR")
    assert batch.about("revenue_fr") == About(unit="EUR", owner="sales")
    assert batch.about("odd[1]") == About(unit="ms")
    assert batch.about("orders") == About()
    assert batch.gates("revenue_de") == Gates(direction="down", min_abs_change=None)
    assert batch.gates("revenue_fr").min_abs_change == 5
    assert batch.gates("orders").direction == "up"
    assert [batch.priority(name) for name in ("revenue_de", "orders")] == ["high", "normal"]


@pytest.mark.parametrize(
    ("value", "read"), [("auto", "auto"), ("off", "off"), (False, "off"), ("3h", timedelta(hours=3))]
)
def test_freshness(value: object, read: object) -> None:
    assert spec(freshness=value).freshness == read


def test_freshness_that_means_nothing_is_said() -> None:
    assert problems(freshness="sometimes") == [
        ("freshness", "expected auto, off or a duration such as 3h, got 'sometimes'")
    ]
    assert problems(freshness=0) == [("freshness", "expected auto, off or more than 0, such as 3h")]


def test_a_guardrail_that_is_never_scored_is_a_caution() -> None:
    batch = spec(alert_gates={"guardrail": {"metric": "x"}}, score_exclude_metrics=["x"])
    assert [key for key, _ in cautions(batch)] == ["alert_gates"]


def test_gates_can_be_given_by_a_variable(folder: MetricsFolder) -> None:
    folder.batch("b.yaml", "b")
    loaded = folder.load({"ANOMSTACK__B__ALERT_GATES": "{direction: up}"})
    assert loaded.batches["b"].spec.alert_gates == Gates(direction="up")
