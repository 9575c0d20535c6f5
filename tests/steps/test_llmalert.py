"""What a language model is asked about real rows, what is stored of its answers, and what alerts are made of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anomstack_provider.llm.answer import Answer, NamedBucket
from anomstack_provider.llm.question import DETECTION, VERIFICATION, Question, Reply, Spent
from anomstack_provider.messages.chart_series import draw_series
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.alert import AlertResult, alert
from anomstack_provider.steps.llmalert import Means, is_due, llmalert
from anomstack_provider.steps.outcomes import StepResult
from anomstack_provider.steps.preview import preview
from anomstack_provider.steps.score import score
from tests.steps.conftest import Rig, at, noise

KEYS: dict[str, Any] = {"disable_llmalert": False, "llmalert_include_plot": False, "timezone": "UTC"}
OUT = "2024-03-05T00:00:00+00:00"


class Scripted:
    """A model that names what it is told to name, of the buckets that it may name, and counts what it is asked."""

    def __init__(self, *out: str, refuses: tuple[str, ...] = ()) -> None:
        self.out = out
        self.refuses = refuses
        self.spent = Spent()
        self.asked: list[Question] = []
        self.seconds: list[float] = []

    def ask(self, question: Question, seconds: float) -> Reply:
        self.asked.append(question)
        self.seconds.append(seconds)
        self.spent = Spent(self.spent.requests + 1, self.spent.input_tokens + 100, self.spent.output_tokens + 10)
        if any(f'Metric: "{name}"' in question.prompt for name in self.refuses):
            raise TimeoutError("no answer within 60 s")
        found = [NamedBucket(timestamp=one, explanation="far out") for one in self.out if one in may_name(question)]
        return Reply(Answer(anomalies=found), "scripted-1")


def may_name(question: Question) -> list[str]:
    return question.prompt.split("or none:\n")[1].split()


def shown(question: Question) -> list[str]:
    return question.prompt.split("timestamp,value\n")[1].split("\n\n")[0].splitlines()


def means(model: Scripted, **changes: Any) -> Means:
    def draw(name: str, points: Any, asked: Any, grain: str) -> bytes:
        return draw_series(name, points.times, points.values, asked, grain=grain, timezone="UTC")

    return replace(Means(model, lambda: 0.0, draw), **changes)


def ask(b: Rig, model: Scripted, day: str = "2024-03-06", **changes: Any) -> StepResult:
    """Ask as the run does that ends at the beginning of a day."""
    end = at(day)
    return llmalert(b.spec, RunWindow(end - pd.Timedelta(days=1), end), b.store, means(model, **changes))


def answers(b: Rig) -> list[tuple[str, str, float]]:
    rows = b.rows("llmanswer")
    days = rows["metric_timestamp"].dt.strftime("%m-%d")
    return list(zip(rows["metric_name"], days, rows["metric_value"], strict=True))


@pytest.fixture
def calls(rig: Callable[..., Rig]) -> Callable[..., Rig]:
    """Return a function that makes a batch with 65 days of ``calls`` up to and with 5 March 2024."""

    def build(**keys: Any) -> Rig:
        b = rig(**{**KEYS, **keys})
        b.put("calls", noise(65))
        return b

    return build


# --- asking ----------------------------------------------------------------------------------------------------------


def test_the_newest_buckets_are_asked_about_once(calls) -> None:
    b = calls(llmalert_recent_n=3)
    model = Scripted(OUT)
    result = ask(b, model)
    assert may_name(model.asked[0]) == [f"2024-03-0{day}T00:00:00+00:00" for day in (3, 4, 5)]
    assert answers(b) == [("calls", "03-03", 0), ("calls", "03-04", 0), ("calls", "03-05", 1)]
    assert result.summary() == {
        "step": "llmalert",
        "rows": 3,
        "metrics": 1,
        "outcomes": {"evaluated": 1},
        "not_evaluated": {},
        "requests": 2,
        "input_tokens": 200,
        "output_tokens": 20,
    }
    told = json.loads(b.rows("llmanswer")["metadata"].iloc[-1])
    assert told == {
        "explanation": "far out",
        "as_of": "2024-03-06T00:00:00+00:00",
        "model": "scripted-1",
        "median": told["median"],
        "requests": 2,
        "input_tokens": 200,
        "output_tokens": 20,
    }
    assert told["median"] == pytest.approx(100, abs=5)
    again = Scripted("2024-03-04T00:00:00+00:00")
    assert ask(b, again).outcomes == {"calls": "up to date"}
    b.put("calls", noise(1), start="2024-03-06")
    assert ask(b, again, "2024-03-07").outcomes == {"calls": "evaluated"}
    assert [may_name(question) for question in again.asked] == [["2024-03-06T00:00:00+00:00"]]
    assert len(answers(b)) == 4


def test_what_the_model_sees_of_a_metric(calls) -> None:
    b = calls(llmalert_prompt_max_n=5, llmalert_metric_rounding=1)
    model = Scripted()
    ask(b, model)
    times = [f"2024-03-0{day}T00:00:00+00:00" for day in range(1, 6)]
    assert shown(model.asked[0]) == [
        f"{time},{value:.12g}" for time, value in zip(times, noise(65)[-5:].round(1), strict=True)
    ]
    smoothed = Scripted()
    b = replace(b, spec=b.spec.model_copy(update={"llmalert_smooth_n": 7, "llmalert_metric_rounding": -1}))
    ask(b, smoothed, "2024-03-06T00:00:01")  # answered already
    assert smoothed.asked == []
    b.store.delete_before(at("2100-01-01"))
    b.put("calls", noise(65))
    ask(b, smoothed)
    last = float(shown(smoothed.asked[0])[-1].split(",")[1])
    assert last == pytest.approx(noise(65)[-7:].mean())


def test_points_are_of_so_many_days_at_most_and_nothing_after_the_window_is_seen(calls) -> None:
    b = calls(llmalert_metric_timestamp_max_days_ago=10)
    model = Scripted()
    ask(b, model, "2024-02-01")
    days = [line[:10] for line in shown(model.asked[0])]
    assert (days[0], days[-1], len(days)) == ("2024-01-22", "2024-01-31", 10)


def test_a_bucket_that_is_not_complete_is_not_asked_about(calls) -> None:
    b = calls(completeness_delay="1h", llmalert_recent_n=1)
    model = Scripted()
    ask(b, model)
    assert may_name(model.asked[0]) == ["2024-03-04T00:00:00+00:00"]
    assert shown(model.asked[0])[-1].startswith("2024-03-04")


def test_times_are_those_of_the_clock_of_the_batch(rig) -> None:
    b = rig(**{**KEYS, "timezone": "America/New_York", "llmalert_recent_n": 1})
    b.put("calls", noise(65), start="2024-01-01 05:00")
    model = Scripted("2024-03-05T00:00:00-05:00")
    ask(b, model, "2024-03-06 05:00")
    assert may_name(model.asked[0]) == ["2024-03-05T00:00:00-05:00"]
    assert b.rows("llmanswer")["metric_timestamp"].tolist() == [pd.Timestamp("2024-03-05 05:00")]
    assert b.rows("llmanswer")["metric_value"].tolist() == [1]


def test_what_is_found_is_checked_by_a_second_question(calls) -> None:
    b = calls(llmalert_anomaly_agent_system_prompt="find", llmalert_anomaly_agent_verification_prompt="check")

    class Doubtful(Scripted):
        def ask(self, question: Question, seconds: float) -> Reply:
            if question.instructions == "check":
                self.out = ()
            return super().ask(question, seconds)

    model = Doubtful(OUT)
    ask(b, model)
    assert [question.instructions for question in model.asked] == ["find", "check"]
    assert '"explanation": "far out"' in model.asked[1].prompt
    assert may_name(model.asked[1]) == [OUT]
    assert {value for _, _, value in answers(b)} == {0}
    plain = Scripted(OUT)
    ask(calls(metric_batch="other"), plain)
    assert [question.instructions for question in plain.asked] == [DETECTION, VERIFICATION]


def test_the_chart_goes_with_both_questions(calls) -> None:
    b = calls(llmalert_include_plot=True)
    model = Scripted(OUT)
    ask(b, model)
    charts = [question.chart for question in model.asked]
    assert charts[0] == charts[1]
    assert charts[0] is not None
    assert charts[0].startswith(b"\x89PNG")
    assert len(charts[0]) < 100_000


# --- limits and failures ---------------------------------------------------------------------------------------------


def test_a_run_asks_about_so_many_metrics_and_the_next_about_those_that_wait(rig) -> None:
    b = rig(**KEYS, llmalert_max_metrics=2)
    for name in ("a", "b", "c"):
        b.put(name, noise(66))
    first = ask(b, Scripted())
    assert first.outcomes == {"a": "evaluated", "b": "evaluated", "c": "not asked: llmalert_max_metrics is 2"}
    assert first.failed == {}
    second = ask(b, Scripted(), "2024-03-07")
    assert second.outcomes == {
        "c": "evaluated",
        "a": "evaluated",
        "b": "not asked: llmalert_max_metrics is 2",
    }


def test_one_metric_without_an_answer_leaves_its_neighbours_alone_and_is_asked_about_again(rig) -> None:
    b = rig(**KEYS)
    for name in ("a", "b", "c"):
        b.put(name, noise(65))
    result = ask(b, Scripted(refuses=("b",)))
    assert result.outcomes == {
        "a": "evaluated",
        "b": "failed: TimeoutError: no answer within 60 s",
        "c": "evaluated",
    }
    assert result.facts["requests"] == 3
    assert {name for name, _, _ in answers(b)} == {"a", "c"}
    later = Scripted()
    assert ask(b, later).outcomes == {"a": "up to date", "b": "evaluated", "c": "up to date"}
    assert len(later.asked) == 1


def test_a_model_that_is_down_is_not_asked_for_every_metric(rig) -> None:
    b = rig(**KEYS)
    for number in range(6):
        b.put(f"m{number}", noise(65))
    model = Scripted(refuses=tuple(f"m{number}" for number in range(6)))
    result = ask(b, model)
    assert len(model.asked) == 3
    reason = "failed: not asked after 3 failures in a row, the last: TimeoutError: no answer within 60 s"
    assert [result.outcomes[f"m{number}"] for number in range(3, 6)] == [reason] * 3
    assert answers(b) == []


def test_a_question_has_its_time_and_a_run_has_one_too(rig) -> None:
    b = rig(**KEYS, llmalert_timeout="20s", llmalert_run_timeout="50s")
    for name in "abcd":
        b.put(name, noise(65))
    model = Scripted()
    clock = iter([0.0, 0.0, 0.0, 15.0, 15.0, 35.0, 35.0, 55.0, 55.0])
    result = ask(b, model, seconds=lambda: next(clock))
    assert model.seconds == [20, 20, 15]
    assert result.outcomes["d"] == "failed: not asked, llmalert_run_timeout is over"
    assert [name for name, _, _ in answers(b)][::5] == ["a", "b", "c"]


def test_a_question_that_is_too_long_is_not_asked(calls) -> None:
    b = calls(llmalert_prompt_max_chars=2000)
    model = Scripted()
    assert "llmalert_prompt_max_chars is 2,000; show fewer points" in ask(b, model).failed["calls"]
    assert model.asked == []


@pytest.mark.parametrize("invented", ["2024-03-06T00:00:00+00:00", "2023-01-01T00:00:00+00:00", "never"])
def test_a_bucket_that_the_model_was_not_asked_about_makes_the_metric_fail(calls, invented: str) -> None:
    class Inventive(Scripted):
        def ask(self, question: Question, seconds: float) -> Reply:
            reply = super().ask(question, seconds)
            return replace(reply, answer=Answer(anomalies=[NamedBucket(timestamp=invented, explanation="x")]))

    b = calls()
    assert f"the answer names '{invented}', which is none of the 5" in ask(b, Inventive()).failed["calls"]
    assert answers(b) == []


def test_a_metric_without_a_closed_bucket_is_not_asked_about(rig) -> None:
    b = rig(**KEYS)
    b.put("young", np.array([1.0]), start="2024-03-05 12:00")
    model = Scripted()
    assert ask(b, model).outcomes == {"young": "evaluated"}  # a single reading is closed when it is taken
    b.put("smooth", noise(2), start="2024-03-04")
    b = replace(b, spec=b.spec.model_copy(update={"llmalert_smooth_n": 5}))
    assert ask(b, model).outcomes["smooth"] == "up to date"
    assert len(model.asked) == 1


# --- the batch's own query and prompt --------------------------------------------------------------------------------


def test_llmalert_sql_says_what_is_shown(calls) -> None:
    b = calls(llmalert_recent_n=1, timezone="Europe/Berlin")
    days = pd.date_range("2024-02-01", periods=40, freq="1D", tz="Europe/Berlin")
    frame = pd.DataFrame({"METRIC_TIMESTAMP": days, "metric_name": "calls", "metric_value": range(40), "more": "x"})
    model = Scripted()
    ask(b, model, fetch=lambda: frame)
    assert shown(model.asked[0])[-1] == "2024-03-05T00:00:00+01:00,33"
    frame.loc[0, "metric_name"] = "bad"
    frame["metric_value"] = frame["metric_value"].astype(object)
    frame.loc[0, "metric_value"] = "many"
    result = ask(b, model, fetch=lambda: frame)
    assert result.failed["bad"].startswith("llmalert_sql: row 1: metric_value is not a number")


def test_the_batch_writes_its_own_prompt_and_cannot_take_the_tail_away(calls) -> None:
    b = calls(llmalert_recent_n=2, llmalert_smooth_n=3)
    seen: list[tuple[list[str], int, int]] = []

    def write(frame: pd.DataFrame, recent_n: int) -> str:
        seen.append((list(frame.columns), len(frame), recent_n))
        return "Is this odd?"

    model = Scripted()
    ask(b, model, write_prompt=write)
    assert seen == [(["metric_timestamp", "metric_value_smooth"], 28, 2)]
    assert model.asked[0].prompt == (
        "Is this odd?\n\nName only these timestamps, written exactly so, or none:\n"
        "2024-03-04T00:00:00+00:00\n2024-03-05T00:00:00+00:00\n"
    )


@pytest.mark.parametrize(
    ("cron", "due"), [("*/5 * * * *", True), ("0 6 * * *", True), ("0 6 * * 2", True), ("0 6 * * 1", False)]
)
def test_when_it_is_due(rig, cron: str, due: bool) -> None:
    b = rig(**KEYS, llmalert_cron_schedule=cron)
    assert is_due(b.spec, b.window("2024-03-05", "2024-03-06")) is due  # a Tuesday


# --- what becomes of the answers -------------------------------------------------------------------------------------


def decide(b: Rig, start: str, end: str) -> AlertResult:
    score(b.spec, b.window(start, end), b.store, b.models)
    return alert(b.spec, b.window(start, end), b.store, b.models)


def told(result: AlertResult) -> list[tuple[Any, ...]]:
    return [(f"{a.bucket:%m-%d}", a.kind, a.transition, a.direction, a.severity, a.says) for a in result.alerts]


def test_a_bucket_that_the_model_named_becomes_an_event_of_its_own(calls) -> None:
    b = calls(alert_snooze_n=1, merge_max_gap="0")
    ask(b, Scripted(OUT))
    found = decide(b, "2024-03-05", "2024-03-06")
    direction = "up" if noise(65)[-1] >= found.alerts[0].expected else "down"
    assert told(found) == [("03-05", "llm", "opened", direction, "low", "far out")]
    assert found.alerts[0].why == ("A language model (scripted-1) named it",)
    assert found.alerts[0].lower < found.alerts[0].value < found.alerts[0].upper, "as usual, says the score"
    assert b.rows("llmalert")["metric_value"].tolist() == [1]
    assert b.rows("alert").empty
    b.put("calls", noise(2, seed=1), start="2024-03-06")
    closed = decide(b, "2024-03-07", "2024-03-08")
    assert told(closed)[-1][:3] == ("03-07", "llm", "closed")
    assert closed.alerts[-1].event_id == found.alerts[0].event_id


def test_the_alert_step_needs_no_answer_and_a_score_does_not_wait_for_one(rig) -> None:
    b = rig(**KEYS)
    b.put("calls", np.append(noise(64), 900.0))
    before = decide(b, "2024-03-05", "2024-03-06")
    assert told(before) == [("03-05", "anomaly", "opened", "up", "high", "")]
    ask(b, Scripted(OUT))
    after = decide(b, "2024-03-05", "2024-03-06")
    assert told(after) == [("03-05", "anomaly", "opened", "up", "high", "far out")]
    assert after.alerts[0].event_id == before.alerts[0].event_id
    assert after.alerts[0].why == (*before.alerts[0].why, "A language model (scripted-1) named it")
    assert b.rows("llmalert").empty


def test_without_scores_the_side_is_that_of_the_median_which_the_model_saw(rig) -> None:
    b = rig(**KEYS, disable_alert=True, disable_score=True)
    b.put("calls", np.append(noise(64), 10.0))
    ask(b, Scripted(OUT))
    (found,) = alert(b.spec, b.window("2024-03-05", "2024-03-06"), b.store, b.models).alerts
    assert (found.kind, found.direction, found.expected, found.grain) == ("llm", "down", None, "1d")


def test_gates_calendar_and_switch_act_on_it(calls) -> None:
    b = calls()
    ask(b, Scripted(OUT))
    window = b.window("2024-03-05", "2024-03-06")
    score(b.spec, window, b.store, b.models)
    assert len(alert(b.spec, window, b.store, b.models).alerts) == 1
    gated = b.spec.model_validate({**b.spec.model_dump(exclude_unset=True), "alert_gates": {"min_pct_change": 500}})
    result = alert(gated, window, b.store, b.models)
    assert (result.alerts, [one.gate for one in result.stopped]) == ((), ["min_pct_change"])
    events = [{"name": "sale", "start": "2024-03-05", "action": "suppress"}]
    for keys in ({"disable_llmalert": True}, {"events": events}):
        spec = b.spec.model_validate({**b.spec.model_dump(exclude_unset=True), **keys})
        assert alert(spec, window, b.store, b.models).alerts == ()


def test_a_row_of_another_tool_is_a_finding_without_words(calls) -> None:
    b = calls()
    times = pd.to_datetime(["2024-03-05"]).astype("datetime64[us]")
    columns = {"metric_name": "calls", "metric_type": "llmanswer", "metric_timestamp": times, "metric_value": [1.0]}
    b.store.replace(pd.DataFrame({**columns, "metadata": "[1, 2"}))
    assert told(decide(b, "2024-03-05", "2024-03-06"))[0][1:] == ("llm", "opened", "up", "low", "")


def test_a_replay_and_a_preview_say_the_same_from_stored_answers(rig) -> None:
    """Ten days live, each run as of its own end; then all of it again, and in one preview, without a question."""
    b = rig(**KEYS, alert_snooze_n=1, merge_max_gap="0", llmalert_recent_n=2)
    values = noise(80)
    values[70] = 900
    b.put("calls", values)
    model = Scripted("2024-03-07T00:00:00+00:00", "2024-03-11T00:00:00+00:00", "2024-03-14T00:00:00+00:00")
    days = pd.date_range("2024-03-06", "2024-03-18", freq="1D", tz="UTC")

    def live() -> list[Any]:
        found: dict[Any, Any] = {}
        for end in days:
            window = RunWindow((end - pd.Timedelta(days=1)).to_pydatetime(), end.to_pydatetime())
            llmalert(b.spec, window, b.store, means(model))
            score(b.spec, window, b.store, b.models)
            for one in alert(b.spec, window, b.store, b.models).alerts:
                found.setdefault((one.event_id, one.key), (one.bucket, one.kind, one.transition, one.says))
        return sorted(found.values())

    first = live()
    kinds = {(kind, transition) for _, kind, transition, _ in first}
    assert kinds == {("llm", "opened"), ("llm", "closed"), ("anomaly", "opened"), ("anomaly", "closed")}
    asked, rows = len(model.asked), b.rows("llmanswer")
    assert asked == len(days) + 3
    assert live() == first
    period = RunWindow(datetime.fromisoformat("2024-03-05T00:00:00+00:00"), days[-1].to_pydatetime())
    seen = preview(b.spec, period, b.store)
    assert sorted((one.bucket, one.kind, one.transition, one.says) for one in seen.alerts) == first
    assert len(model.asked) == asked
    pd.testing.assert_frame_equal(b.rows("llmanswer"), rows)
