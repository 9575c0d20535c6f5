"""From the transitions of events to alerts, and from alerts to rows of the metrics table and back."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from anomstack_provider.alerting.alert import Alert, event_id
from anomstack_provider.alerting.events import Transition
from anomstack_provider.alerting.findings import DIRECTIONS, Findings
from anomstack_provider.alerting.rules import SEVERITIES
from anomstack_provider.alerting.thresholds import limits
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.config.values import format_duration

# Type of the row that an alert of this kind is stored as.
# Ends the type of a row whose alert no longer holds: what people were told stays on record.
WITHDRAWN = "_withdrawn"
ROW_TYPES = {"anomaly": "alert", "late": "alert", "threshold": "tholdalert", "change": "change", "llm": "llmalert"}
# Of several transitions in one bucket the row is that of the first of these.
_RANK = ("opened", "escalated", "expired", "closed", "routine")
_BESIDE = "beside"


def tell(
    spec: BatchSpec,
    metric_name: str,
    transitions: Iterable[Transition],
    findings: Findings,
    quiet: Callable[[int], Findings],
    gates: Callable[[int], tuple[str, ...]],
    kinds: Sequence[tuple[str, ...]],
) -> list[Alert]:
    """
    Return the alert of each transition.

    :param findings: those that the transitions name.
    :param quiet: returns the bucket at a position as if it had a finding: its value and its expected range.
    :param gates: returns a sentence per gate that the finding at a position passed.
    :param kinds: all that was found in the bucket of each finding.
    """
    worst = findings.worst
    tags = tuple(sorted((str(k), str(v)) for k, v in spec.metric_tags.get(metric_name, {}).items()))
    alerts = []
    for what in transitions:
        kind = str(findings.kind[what.first])
        found = -1 if what.finding is None else what.finding
        # The bounds of a threshold are no usual range: of an event on scores the scores' own is told.
        is_bare = found < 0 or (kind == "anomaly" and findings.kind[found] == "threshold")
        shown, k = (quiet(what.position), 0) if is_bare else (findings, found)
        judged, j = (findings, found) if found >= 0 else (shown, k)
        direction = DIRECTIONS[int(findings.direction[what.first])]
        first = _moment(findings, what.first)
        # Of an event beyond a threshold its bounds are told, also where a score or a quiet bucket is shown.
        is_beyond = kind == "threshold" and metric_name in spec.tholdalert_thresholds
        bounds = limits(spec.tholdalert_thresholds[metric_name]) if is_beyond else (shown.lower[k], shown.upper[k])
        alerts.append(
            Alert(
                event_id=event_id(spec.metric_batch, metric_name, kind, direction, first),
                metric_batch=spec.metric_batch,
                metric_name=metric_name,
                kind=kind,
                transition=what.name,
                direction=direction,
                bucket=_moment(shown, k),
                grain=str(shown.grain[k]),
                value=_known(shown.value[k]),
                expected=_known(shown.expected[k]),
                lower=_known(bounds[0]),
                upper=_known(bounds[1]),
                score=_known(judged.score[j]),
                threshold=_known(judged.threshold[j]),
                severity=SEVERITIES[what.severity],
                tags=tags,
                note=str(shown.note[k]),
                why=_why(spec, what, findings),
                gates=() if what.finding is None else gates(what.finding),
                first_bucket=first,
                last_bucket=_moment(findings, what.newest),
                fired=what.fired,
                peak_bucket=_moment(worst, what.peak),
                peak_value=_known(worst.value[what.peak]),
                peak_expected=_known(worst.expected[what.peak]),
                kinds=_kinds(what, findings, kinds),
                says="" if what.finding is None else str(findings.says[what.finding]),
            )
        )
    return alerts


def _kinds(what: Transition, findings: Findings, kinds: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Return what was found in an event up to a transition, in the order of its finding, if it is of several kinds."""
    newest = what.newest if what.finding is None else what.finding
    direction = findings.direction[what.first]
    own = [kinds[k] for k in range(what.first, newest + 1) if findings.direction[k] == direction]
    found = tuple(dict.fromkeys(kind for each in own for kind in each))
    return found if len(found) > 1 else ()


def _why(spec: BatchSpec, what: Transition, findings: Findings) -> tuple[str, ...]:
    if what.finding is None:
        return ("Nothing was found for long enough, the event is over",)
    found: tuple[str, ...] = findings.why[what.finding]
    if what.name == "expired":
        return (*found, f"It has lasted longer than {format_duration(spec.event_expires)}; silent until it is over")
    return found


def _moment(findings: Findings, k: int) -> datetime:
    moment: datetime = findings.times[k].astype("datetime64[us]").item()
    return moment.replace(tzinfo=UTC)


def _known(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None


def stored_rows(alerts: Sequence[Alert]) -> list[tuple[str, str, datetime, float, str]]:
    """
    Return metric name, type, bucket (naive UTC), value and metadata of the rows that keep the alerts.

    A row's value is 1 where an event opened or escalated, else 0: it ended, or it is routine; its metadata are the
    alert's JSON.
    A key has one row: of several transitions in one bucket the others are in the metadata, as ``beside``.
    """
    rows: dict[tuple[str, str, datetime], list[Alert]] = {}
    for alert in alerts:
        bucket = alert.bucket.astimezone(UTC).replace(tzinfo=None)
        rows.setdefault((alert.metric_name, ROW_TYPES[alert.kind], bucket), []).append(alert)
    found = []
    for key, group in rows.items():
        group.sort(key=lambda alert: (_RANK.index(alert.transition), alert.kind, alert.direction))
        value = float(group[0].transition in ("opened", "escalated"))
        metadata: dict[str, Any] = group[0].to_dict()
        if group[1:]:
            metadata[_BESIDE] = [alert.to_dict() for alert in group[1:]]
        found.append((*key, value, json.dumps(metadata, sort_keys=True)))
    return found


def stored_alerts(metadata: str) -> list[Alert]:
    """Return the alerts that a row keeps in its metadata; else raises ``ValueError``."""
    raw = json.loads(metadata)
    beside = raw.pop(_BESIDE, []) if isinstance(raw, dict) else []
    return [Alert.from_json(json.dumps(one)) for one in [raw, *beside]]
