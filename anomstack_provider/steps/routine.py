"""
The newest bucket of each run, told whatever its score: ``alert_always``.

Such a message is about one bucket and no event: nothing opens, lasts or closes with it, no gate is asked, its severity
is low, a snooze mutes it, and it is not sent where the same bucket opened an event or made it worse.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.alerting.events import Transition
from anomstack_provider.alerting.findings import NONE
from anomstack_provider.alerting.rules import SEVERITIES
from anomstack_provider.alerting.transitions import tell
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection import feedback, grain
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.overrides import own_run
from anomstack_provider.steps.scored import ScoredBatch
from anomstack_provider.steps.sources import findings_at, smoothed_scores
from anomstack_provider.steps.tracks import decided
from anomstack_provider.steps.training import stamp

# However far out the bucket is: an event says so, unless a gate or someone has decided that it is none.
_LEAST = SEVERITIES.index("low")
_WHY = ("Each run tells its newest bucket: alert_always is set",)


def routine(
    spec: BatchSpec,
    window: RunWindow,
    name: str,
    batch: ScoredBatch,
    since: np.datetime64,
    told: Collection[Alert],
) -> list[Alert]:
    """
    Return an alert for the newest of the metric's buckets that closed in each run.

    :param since: start of the first bucket that is looked at; what is told again was sent before.
    :param told: what is told of the metrics anyway.
    """
    rows = batch.scored[name].judged()
    first = int(np.searchsorted(rows.times, since))
    starts = rows.times[first:]
    runs = own_run(spec, grain.mixed_ends(rows.grains[first:].tolist(), starts, spec.timezone), window.end)
    newest = [i for i in range(len(runs)) if runs[i] != (runs[i + 1] if i + 1 < len(runs) else None)]
    news = {stamp(one.bucket) for one in told if one.metric_name == name and one.transition in ("opened", "escalated")}
    at = np.array([first + i for i in newest if starts[i] not in news], np.intp)
    found = findings_at(spec, rows, smoothed_scores(spec, rows), at)
    muted, _ = feedback.snoozed(batch.said.get(name, ()), decided(spec, found))
    found, at = found.take(~muted), at[~muted]
    for k in range(len(found)):
        found.why[k] = _WHY
    found = replace(found, direction=np.full(len(found), NONE, np.int8))
    each = [Transition("routine", int(at[k]), k, k, k, k, 0, _LEAST) for k in range(len(found))]
    return tell(spec, name, each, found, lambda position: found, lambda k: (), [("anomaly",)] * len(found))
