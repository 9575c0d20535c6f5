"""What the pages say of a board: a card per batch, a panel per metric, a line per anomaly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from anomstack_provider.alerting import rules
from anomstack_provider.alerting.wording import amount, elide, number, one_line, unit_text
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.messages.buckets import bucket_start
from anomstack_provider.messages.chart_data import moment
from anomstack_provider.messages.headline import headline
from anomstack_provider.steps.dashboard import Anomaly, Board, Watched, search
from anomstack_provider.ui import svg

# What a kind is called on the page; the words of docs/findings.md.
_KINDS = {
    "anomaly": "anomaly",
    "threshold": "threshold",
    "change": "change of level",
    "llm": "language model",
    "late": "late data",
}
_UNREADABLE = (ValueError, KeyError, TypeError)


@dataclass(frozen=True)
class Card:
    """A batch on the home page; with a ``problem`` there are no numbers."""

    dag_id: str
    name: str
    problem: str = ""
    metrics: int = 0
    stale: int = 0
    alerts: int = 0
    last_seen: str = ""
    score: str = ""

    @classmethod
    def of(cls, dag_id: str, spec: BatchSpec | None, board: Board | None, problem: str) -> Card:
        """Return the card of a batch that was read, or that could not be."""
        name = dag_id if spec is None else spec.metric_batch
        if board is None:
            return cls(dag_id, name, problem)
        seen, score = board.last_seen, board.mean_score
        return cls(
            dag_id,
            name,
            metrics=len(board.metrics),
            stale=len(board.stale),
            alerts=len(board.anomalies),
            last_seen="" if seen is None else bucket_start(seen, "1d", board.spec.timezone),
            score="" if score is None else f"{score:.2f}",
        )

    def rank(self) -> tuple[int, bool, str]:
        """Return its place: the most alerts first, those that cannot be read before those without any."""
        return -self.alerts, not self.problem, self.name


@dataclass(frozen=True)
class Panel:
    """A metric's chart with what stands above it."""

    metric_name: str
    title: str
    rate: str
    last_seen: str
    newest: str
    alerts: int
    changes: int
    chart: Markup
    problem: str = ""

    @classmethod
    def of(cls, board: Board, metric: Watched, *, is_large: bool = False) -> Panel:
        """Draw a metric; one whose rows cannot be read says so in the place of its chart."""
        spec, about = board.spec, board.spec.about(metric.name)
        title = one_line(about.title or metric.name) or "(no name)"
        grain, newest, drawn, problem = "instant", "", Markup(""), ""
        try:
            shown = board.shown(metric)
            grain = board.grain(shown)
            if len(shown.values):
                newest = amount(float(shown.values[-1]), unit_text(about.unit))
            picture = svg.Picture(
                times=shown.times,
                values=shown.values,
                score_times=shown.score_times,
                scores=shown.scores,
                alerts=metric.alerts,
                changes=metric.changes,
                threshold=rules.threshold(spec),
                grain=grain,
                timezone=spec.timezone,
                label=f"{title}: {len(shown.times)} values, newest {newest or 'none'}, {len(metric.alerts)} alerts, "
                f"{len(metric.changes)} changes of level",
                band=shown.band,
            )
            drawn = svg.chart(picture, svg.LARGE if is_large else svg.SMALL)
        except _UNREADABLE as error:
            problem = f"One of its score rows has metadata that cannot be read: {type(error).__name__}: {error}"
        return cls(
            metric_name=metric.name,
            title=title,
            rate=f"{number(metric.rate * 100, 2)} %",
            last_seen=bucket_start(metric.last_seen, grain, spec.timezone),
            newest=newest,
            alerts=len(metric.alerts),
            changes=len(metric.changes),
            chart=drawn,
            problem=elide(problem, 300),
        )


@dataclass(frozen=True)
class Line:
    """An anomaly in the list."""

    metric_name: str
    title: str
    says: str
    kind: str
    when: str
    bucket: str
    event_id: str
    verdict: str
    is_judged: bool
    sparkline: Markup

    @classmethod
    def of(cls, board: Board, anomaly: Anomaly) -> Line:
        """Word an anomaly as its message does, and draw its metric small."""
        spec, about = board.spec, board.spec.about(anomaly.metric_name)
        alert = anomaly.alert
        found = {metric.name: metric for metric in board.metrics}.get(anomaly.metric_name)
        grain, drawn = "instant" if alert is None else alert.grain, Markup("")
        if found is not None:
            try:
                shown = board.shown(found)
                bucket = moment(anomaly.bucket)
                drawn = svg.sparkline(shown.times, shown.values, bucket, board.grain(shown), "around this anomaly")
            except _UNREADABLE:
                drawn = Markup("")
        line = None if alert is None else headline(alert, spec.timezone, about)
        return cls(
            metric_name=anomaly.metric_name,
            title=one_line(about.title or anomaly.metric_name) or "(no name)",
            says="" if line is None else f"[{line.tag}] {line.finding}",
            kind=_KINDS.get(anomaly.kind, anomaly.kind),
            when=bucket_start(anomaly.bucket, grain, spec.timezone),
            bucket=anomaly.bucket.isoformat(),
            event_id=anomaly.event_id or "",
            verdict=anomaly.verdict.replace("_", " "),
            is_judged=anomaly.is_judged,
            sparkline=drawn,
        )


def found_metrics(board: Board, text: str) -> list[Watched]:
    """Return the metrics that a search finds, all of them for an empty one."""
    return search(board.metrics, text, _titles(board.spec, [metric.name for metric in board.metrics]))


def of_metric(board: Board, name: str) -> Watched | None:
    """Return one metric by its exact name."""
    return next((metric for metric in board.metrics if metric.name == name), None)


def found_anomalies(board: Board, text: str) -> Sequence[Anomaly]:
    """Return the anomalies of the metrics that a search finds."""
    if not text.strip():
        return board.anomalies
    names = {metric.name for metric in found_metrics(board, text)}
    return [anomaly for anomaly in board.anomalies if anomaly.metric_name in names]


def _titles(spec: BatchSpec, names: Sequence[str]) -> dict[str, Any]:
    return {name: spec.about(name).title or "" for name in names}
