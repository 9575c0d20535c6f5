"""What a verdict does to alerts: an event falls silent from when it was given, in replays too."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.steps import feedback
from anomstack_provider.steps.alert import AlertResult, alert
from anomstack_provider.steps.overlay import NoModels
from anomstack_provider.steps.preview import preview
from anomstack_provider.steps.score import score
from tests.steps.conftest import Rig, at, noise

RigOf = Callable[..., Rig]

LOUD = {
    "model_configs": [{"model_name": "KNN", "model_tag": "knn", "model_params": {"contamination": 0.01}}],
    "preprocess_params": {"diff_n": 0, "smooth_n": 0, "lags_n": 0},
    "alert_smooth_n": 0,
    "alert_threshold": 0.9,
    "alert_snooze_n": 1,
    "train_cron_schedule": "0 0 1 2 *",  # one model for all
    "notify_closed": True,
    "disable_change": True,
}
DAYS = [f"2024-02-{day:02d}" for day in range(18, 29)]


def values() -> np.ndarray:
    """From 20 February on ever further out, five days long: opened, escalated, closed on the 26th."""
    found = noise(62)
    found[50:55] += np.array([60, 150, 400, 1000, 2500])
    return found


def transitions(alerts: Any) -> list[tuple[str, str]]:
    return [(a.transition, f"{a.bucket:%d}") for a in alerts]


def live(r: Rig, said: dict[str, tuple[str, str]]) -> tuple[list[Alert], list[AlertResult]]:
    """Run day after day; before the run that ends on a day, someone may say a word on a bucket, at its noon."""
    sent: list[Alert] = []
    results = []
    for start, end in pairwise(DAYS):
        window = r.window(start, end)
        score(r.spec, window, r.store, r.models)
        results.append(alert(r.spec, window, r.store, r.models))
        known = {(a.event_id, a.key) for a in sent}
        sent += [a for a in results[-1].alerts if (a.event_id, a.key) not in known]
        if start in said:
            bucket, word = said[start]
            until = at(start) + timedelta(days=4) if word == "snooze" else None
            moment = at(start) + timedelta(hours=36)  # noon of the day after the run's
            feedback.give(r.spec, r.store, "m", at(bucket), word, given_at=moment, until=until)
    return sent, results


ALL = [("opened", "20"), ("escalated", "21"), ("escalated", "22"), ("escalated", "23"), ("escalated", "24")]
CLOSED = [("closed", "26")]


def test_without_feedback_all_is_told(rig: RigOf) -> None:
    r = rig(**LOUD)
    r.put("m", values())
    sent, _ = live(r, {})
    assert transitions(sent) == ALL + CLOSED


@pytest.mark.parametrize("word", ["false_alarm", "expected", "new_normal"])
@pytest.mark.parametrize("bucket", ["2024-02-20", "2024-02-21"])
def test_an_event_that_is_settled_has_nothing_more_to_tell(rig: RigOf, word: str, bucket: str) -> None:
    r = rig(**LOUD)
    r.put("m", values())
    sent, results = live(r, {"2024-02-21": (bucket, word)})  # at noon of the 22nd, which is decided at midnight
    assert transitions(sent) == ALL[:2]
    stopped = [(one.gate, str(one.bucket)[8:10]) for result in results for one in result.stopped]
    assert stopped == [("feedback", "22"), ("feedback", "23"), ("feedback", "24")]
    stored = [text for text in r.rows("alert")["metadata"]]
    assert transitions(sorted((Alert.from_json(t) for t in stored), key=lambda a: a.bucket)) == ALL[:2]


def test_real_changes_nothing_of_its_event(rig: RigOf) -> None:
    r = rig(**LOUD)
    r.put("m", values())
    sent, _ = live(r, {"2024-02-21": ("2024-02-20", "real")})
    assert transitions(sent) == ALL + CLOSED


def test_what_lasts_longer_than_a_snooze_is_told_after_it(rig: RigOf) -> None:
    r = rig(**LOUD)
    r.put("m", values())
    # Given at noon of the 21st until the 24th: the 21st and 22nd are decided in it, the 23rd as it ends.
    sent, results = live(r, {"2024-02-20": ("2024-02-20", "snooze")})
    assert transitions(sent) == [("opened", "20"), ("opened", "23"), ("escalated", "24"), *CLOSED]
    assert [one.gate for result in results for one in result.stopped] == ["snooze", "snooze"]


@pytest.mark.parametrize("word", ["false_alarm", "expected", "new_normal", "snooze", "real"])
def test_preview_and_runs_in_any_order_tell_the_same(rig: RigOf, word: str) -> None:
    r = rig(**LOUD)
    r.put("m", values())
    sent, _ = live(r, {"2024-02-21": ("2024-02-20", word)})
    seen = preview(r.spec, r.window(DAYS[0], DAYS[-1]), r.store)
    assert [(a.event_id, a.key) for a in seen.alerts] == [(a.event_id, a.key) for a in sent]
    before = r.rows("alert")
    for start, end in reversed(list(pairwise(DAYS))):
        alert(r.spec, r.window(start, end), r.store, NoModels())
    assert r.rows("alert").equals(before)


def test_a_verdict_on_a_stored_event_is_on_all_of_its_buckets(rig: RigOf) -> None:
    r = rig(**LOUD)
    r.put("m", values())
    sent, _ = live(r, {})
    given = feedback.give(
        r.spec, r.store, "m", at("2024-02-22"), "real", given_at=at("2024-03-01"), event_id=sent[0].event_id
    )
    assert [f"{v.bucket:%d}" for v in given] == ["20", "21", "22", "23", "24"]


def test_a_settled_event_stays_silent_however_long_it_lasts(rig: RigOf) -> None:
    """Longer than what a run reads at first: the event is found where it began, and with it the word on it."""
    r = rig(**{**LOUD, "score_max_n": 3, "event_expires": "1000d"})
    found = noise(100)
    found[50:] += 200 * 1.3 ** np.arange(50)
    r.put("m", found)
    feedback.give(r.spec, r.store, "m", at("2024-02-20"), "false_alarm", given_at=at("2024-02-21T12:00"))
    window = r.window("2024-04-05", "2024-04-06")
    score(r.spec, window, r.store, r.models)
    result = alert(r.spec, window, r.store, r.models)
    assert result.alerts == ()
    assert [one.gate for one in result.stopped] == ["feedback"]
