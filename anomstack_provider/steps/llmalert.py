"""
The llmalert step: a language model is asked about each metric's newest buckets, and its answers are stored.

A model's answer is no function of what it was shown, so a bucket is asked about once and the stored answer stands:
a retry, a clear or a replay of the run finds it and asks nothing. What is found becomes an event in the alert step.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TypeAlias

import numpy as np
import pandas as pd

from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection.features import trailing_mean
from anomstack_provider.detection.series import Series, Times, split, split_columns
from anomstack_provider.llm import question as texts
from anomstack_provider.llm.answer import Answer, AnswerRefused, named, shortened
from anomstack_provider.llm.question import Model, Question
from anomstack_provider.runtime.ticks import last_tick
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps import finders
from anomstack_provider.steps.ingest import wrangle
from anomstack_provider.steps.llm_answers import ANSWER, answer_rows
from anomstack_provider.steps.outcomes import StepResult
from anomstack_provider.steps.ports import MetricRows
from anomstack_provider.steps.training import stamp

log = logging.getLogger(__name__)

# After so many failures in a row it is the model that is down, and each further question would wait for a time-out.
_GIVE_UP = 3

WritePrompt: TypeAlias = Callable[[pd.DataFrame, int], str]
Draw: TypeAlias = Callable[[str, Series, Times, str], bytes]


@dataclass(frozen=True)
class Means:
    """
    What the step asks with.

    :param seconds: returns seconds since any fixed moment, for the time that a run's questions may take.
    :param draw: returns a chart of a metric: its name, points, the buckets in question and their grain.
    :param fetch: returns the rows of ``llmalert_sql``; None takes the stored metrics.
    :param write_prompt: the batch's own function; None for the built-in prompt.
    """

    model: Model
    seconds: Callable[[], float]
    draw: Draw
    fetch: Callable[[], pd.DataFrame] | None = None
    write_prompt: WritePrompt | None = None


@dataclass(frozen=True)
class _Asked:
    """A metric to ask about: what the model sees, and the buckets without an answer, with their grain."""

    name: str
    points: Series
    judged: Times
    grain: str
    answered: np.datetime64


class _Time:
    """The time that is left of a run's."""

    def __init__(self, spec: BatchSpec, seconds: Callable[[], float]) -> None:
        self._one = spec.llmalert_timeout.total_seconds()
        self._seconds = seconds
        self._end = seconds() + spec.llmalert_run_timeout.total_seconds()

    def for_one(self) -> float:
        """Return the seconds that the next question may take; 0 when the run's time is over."""
        return max(min(self._one, self._end - self._seconds()), 0.0)


def is_due(spec: BatchSpec, window: RunWindow) -> bool:
    """Whether a tick of ``llmalert_cron_schedule`` lies in the window."""
    return last_tick(spec.llmalert_cron_schedule, spec.timezone, window.end) >= window.start


def llmalert(spec: BatchSpec, window: RunWindow, store: MetricRows, means: Means) -> StepResult:
    """
    Ask about the newest ``llmalert_recent_n`` closed buckets of each metric that have no answer yet.

    One read for all metrics. An answer is stored as soon as it is there, in a transaction of its own: what was paid for
    is not lost to a kill. Metrics whose newest answer is oldest come first.

    :return: a result whose facts hold the requests made and the tokens spent, those of failed questions too.
    """
    series, answered, outcomes = _read(spec, window, store, means)
    waiting: list[_Asked] = []
    for name, points in series.items():
        if asked := _unanswered(spec, window, name, points, answered.get(name)):
            waiting.append(asked)
        else:
            outcomes[name] = "up to date" if len(points) else "no data"
    waiting.sort(key=lambda asked: (asked.answered, asked.name))
    time, row_count, in_a_row, last = _Time(spec, means.seconds), 0, 0, ""
    for position, asked in enumerate(waiting):
        if position >= spec.llmalert_max_metrics:
            outcomes[asked.name] = f"not asked: llmalert_max_metrics is {spec.llmalert_max_metrics}"
        elif in_a_row >= _GIVE_UP:
            outcomes[asked.name] = f"failed: not asked after {_GIVE_UP} failures in a row, the last: {last}"
        elif not time.for_one():
            outcomes[asked.name] = "failed: not asked, llmalert_run_timeout is over"
        else:
            try:
                row_count += store.replace(_answer(spec, window, asked, means, time))
                outcomes[asked.name], in_a_row = "evaluated", 0
            except Exception as error:
                log.exception("metric %r: no answer", asked.name)
                last, in_a_row = f"{type(error).__name__}: {shortened(str(error), 300)}", in_a_row + 1
                outcomes[asked.name] = f"failed: {last}"
    return StepResult("llmalert", row_count, outcomes, asdict(means.model.spent))


def _read(
    spec: BatchSpec, window: RunWindow, store: MetricRows, means: Means
) -> tuple[dict[str, Series], dict[str, Times], dict[str, str]]:
    """Return what there is to show by metric, the buckets that have an answer, and what was refused of a query."""
    # More than is shown: the points before tell how long a bucket is, and make the first mean whole.
    newest = spec.llmalert_prompt_max_n + max(spec.llmalert_smooth_n, finders.GRAIN)
    since = window.end - timedelta(days=spec.llmalert_metric_timestamp_max_days_ago)
    types = [ANSWER] if means.fetch else ["metric", ANSWER]
    frame = store.read(types, since=since, until=window.end, newest=newest, cut=window.end)
    answered = {name: times for name, (times,) in split_columns(frame[frame["metric_type"] == ANSWER]).items()}
    rows, refused = frame[frame["metric_type"] == "metric"], {}
    if means.fetch:
        fetched = wrangle(means.fetch(), -1)
        refused = {name: f"failed: llmalert_sql: {reason}" for name, reason in fetched.refused.items()}
        times = fetched.rows["metric_timestamp"].to_numpy()
        within = (times >= stamp(since)) & (times < stamp(window.end))
        rows = fetched.rows[within].sort_values(["metric_name", "metric_timestamp"], kind="stable")
    return split(rows), answered, refused


def _unanswered(spec: BatchSpec, window: RunWindow, name: str, points: Series, answered: Times | None) -> _Asked | None:
    """Return what to ask about a metric, None if each of its newest buckets has its answer."""
    answered = np.empty(0, "datetime64[us]") if answered is None else answered
    buckets = finders.closed_buckets(spec, points, window)
    recent = buckets.times[-spec.llmalert_recent_n :]
    judged = recent[~np.isin(recent, answered)]
    shown = _shown(spec, buckets.series)
    judged = judged[np.isin(judged, shown.times)]
    if not len(judged):
        return None
    newest = answered[-1] if len(answered) else np.datetime64("0001-01-01", "us")
    return _Asked(name, shown, judged, str(buckets.grain[-1]), newest)


def _shown(spec: BatchSpec, points: Series) -> Series:
    """Return the points as the model sees them: smoothed, rounded, the newest ``llmalert_prompt_max_n``."""
    times, values = points.times, points.values
    if spec.llmalert_smooth_n > 1:
        values = trailing_mean(values, spec.llmalert_smooth_n) if len(values) >= spec.llmalert_smooth_n else values[:0]
        times = times[len(times) - len(values) :]
    if spec.llmalert_metric_rounding >= 0:
        values = np.round(values, spec.llmalert_metric_rounding)
    shown = slice(-spec.llmalert_prompt_max_n, None)
    return Series(times[shown], values[shown])


def _answer(spec: BatchSpec, window: RunWindow, asked: _Asked, means: Means, time: _Time) -> pd.DataFrame:
    """Ask about one metric, have what was named checked, and return the rows of the answer."""
    model, spent = means.model, asdict(means.model.spent)
    prompt = _prompt(spec, asked, means)
    chart = None
    if spec.llmalert_include_plot:
        chart = means.draw(asked.name, asked.points, asked.judged, asked.grain)
    labels = texts.labels(asked.judged, spec.timezone)
    instructions = spec.llmalert_anomaly_agent_detection_prompt or texts.DETECTION
    reply = model.ask(_within(spec, Question(instructions, texts.with_tail(prompt, labels), chart)), time.for_one())
    if claims := named(reply.answer, labels, spec.timezone):
        instructions = spec.llmalert_anomaly_agent_verification_prompt or texts.VERIFICATION
        text = texts.with_tail(texts.with_claims(prompt, claims), list(claims))
        reply = model.ask(_within(spec, Question(instructions, text, chart)), time.for_one())
        claims = _confirmed(reply.answer, list(claims), spec.timezone)
    after = asdict(model.spent)
    facts = {
        "as_of": window.end.isoformat(),
        "model": shortened(reply.model, 100),
        "median": float(np.median(asked.points.values)),
        **{key: after[key] - spent[key] for key in after},
    }
    log.info("metric %r: %s of %s buckets named, %s", asked.name, len(claims), len(labels), facts)
    return answer_rows(asked.name, asked.judged, [claims.get(label) for label in labels], facts)


def _confirmed(answer: Answer, claims: list[str], timezone: str) -> dict[str, str]:
    try:
        return named(answer, claims, timezone)
    except AnswerRefused as error:
        raise AnswerRefused(f"checking: {error}") from None


def _prompt(spec: BatchSpec, asked: _Asked, means: Means) -> str:
    if means.write_prompt is None:
        return texts.points_text(spec.metric_batch, asked.name, asked.points, spec.timezone)
    # Named as Anomstack names it, whose functions are written for that.
    value = "metric_value_smooth" if spec.llmalert_smooth_n > 1 else "metric_value"
    frame = pd.DataFrame({"metric_timestamp": asked.points.times, value: asked.points.values})
    return means.write_prompt(frame, spec.llmalert_recent_n)


def _within(spec: BatchSpec, question: Question) -> Question:
    if len(question) > spec.llmalert_prompt_max_chars:
        raise ValueError(
            f"the question has {len(question):,} characters, llmalert_prompt_max_chars is "
            f"{spec.llmalert_prompt_max_chars:,}; show fewer points by llmalert_prompt_max_n"
        )
    return question
