"""What the dashboard shows of a batch, from rows of a real table that the steps wrote."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps import dashboard, feedback
from anomstack_provider.steps.alert import alert
from anomstack_provider.steps.dashboard import Board
from anomstack_provider.steps.overrides import OverrideError
from anomstack_provider.steps.period import Period
from anomstack_provider.steps.score import score
from anomstack_provider.steps.train import train
from anomstack_provider.store.hooks import EmbeddedDuckDBHook
from anomstack_provider.store.metric_store import MetricStore
from tests.steps.conftest import Rig, at, noise

RigOf = Callable[..., Rig]
NOW = "2024-03-01T06:00"


def read(r: Rig, window: str = "90n", now: str = NOW, **more: Any) -> Board:
    return dashboard.read(r.spec, r.store, Period.parse(window), at(now), **more)


@pytest.fixture
def shop(rig: RigOf) -> Rig:
    """Three metrics of 60 days: one with a spike on 27 February, a calm one, and one that ended on 10 February."""
    r = rig(freshness="off", alert_recent_n=5)
    spiked = noise(60, 1)
    spiked[57] += 100
    r.put("spiked", spiked)
    r.put("calm", noise(60, 2))
    r.put("gone", noise(41, 3))
    window = RunWindow(at("2024-02-25"), at("2024-03-01"))
    for step in (train, score, alert):
        step(r.spec, window, r.store, r.models)
    return r


def test_metrics_are_sorted_by_their_rate_of_anomalies_and_stale_ones_are_hidden(shop: Rig) -> None:
    board = read(shop)
    assert [metric.name for metric in board.metrics] == ["spiked", "calm"]
    assert (list(board.stale), board.last_seen) == (["gone"], at("2024-02-29"))
    first, second = board.metrics
    assert first.alerts.tolist() == [datetime(2024, 2, 27)]
    assert 0 < first.rate < 0.1
    assert second.rate == 0
    assert [metric.name for metric in read(shop, with_stale=True).metrics] == ["gone", "spiked", "calm"]


def test_a_metric_is_stale_when_its_newest_bucket_ended_too_long_ago(shop: Rig) -> None:
    # The bucket of 29 February ends with the 29th; 7 days later it is not stale, a moment after that it is.
    assert read(shop, now="2024-03-08T00:00").stale == ["gone"]
    assert read(shop, now="2024-03-08T00:01").stale == ["calm", "gone", "spiked"]


def test_a_metric_of_months_is_not_stale_within_its_bucket(rig: RigOf) -> None:
    r = rig()
    r.put("monthly", noise(5), start="2024-01-01", freq="MS")
    assert read(r, now="2024-06-05").stale == []
    assert read(r, now="2024-06-15").stale == ["monthly"]


def test_the_series_has_value_expected_range_and_score(shop: Rig) -> None:
    board = read(shop)
    shown = board.shown(board.metrics[0])
    assert (len(shown.times), board.grain(shown)) == (60, "1d")
    assert np.isfinite(shown.band["expected"][-1])
    assert shown.band["lower"][-1] < shown.band["upper"][-1]
    assert shown.scores[shown.score_times == np.datetime64("2024-02-27")] > 0.9


@pytest.mark.parametrize(("window", "points"), [("3n", 3), ("48h", 1), ("4d", 3), ("2880m", 1), ("60n", 60)])
def test_a_window_counts_buckets_or_goes_back_from_now(shop: Rig, window: str, points: int) -> None:
    board = read(shop, window)
    assert len(board.shown(board.metrics[0]).times) == points


def test_alerts_before_the_first_bucket_that_is_shown_are_left_out(shop: Rig) -> None:
    assert [len(read(shop, window).anomalies) for window in ("3n", "2n", "7d", "1d")] == [1, 0, 1, 0]


def test_an_anomaly_has_its_alert_and_what_was_said_of_it(shop: Rig) -> None:
    (anomaly,) = read(shop).anomalies
    assert (anomaly.metric_name, anomaly.bucket, anomaly.kind) == ("spiked", at("2024-02-27"), "anomaly")
    assert (anomaly.verdict, anomaly.is_judged) == ("", True)
    for word in ("false_alarm", "real"):
        given = {"given_at": datetime.now(UTC), "event_id": anomaly.event_id}
        feedback.give(shop.spec, shop.store, anomaly.metric_name, anomaly.bucket, word, **given)
        assert [each.verdict for each in read(shop).anomalies] == [word]


def test_a_card_needs_the_mean_score_and_the_last_time(shop: Rig) -> None:
    scores = shop.rows("score")
    mine = scores[scores["metric_name"] != "gone"]["metric_value"]
    assert read(shop).mean_score == pytest.approx(mine.mean())


def test_nothing_stored_and_nothing_scored_are_boards_too(rig: RigOf) -> None:
    r = rig()
    assert (read(r).metrics, read(r).last_seen, read(r).mean_score) == ([], None, None)
    r.put("m", noise(60))
    board = read(r)
    assert [(metric.name, metric.rate) for metric in board.metrics] == [("m", 0.0)]
    assert (board.mean_score, len(board.shown(board.metrics[0]).times)) == (None, 60)


def test_rows_of_another_tool_are_shown_as_far_as_they_go(rig: RigOf) -> None:
    r = rig()
    r.put("m", noise(60))
    times = np.array(["2024-02-26", "2024-02-27", "2024-02-28"], "datetime64[us]")
    for kind, values in {"score": [0.1, 0.99, 0.2], "alert": [0, 1, 0], "change": [0, 0, 1]}.items():
        rows = {"metric_name": "m", "metric_type": kind, "metric_timestamp": times, "metric_value": values}
        r.store.replace(pd.DataFrame({**rows, "metric_value": np.array(values, float), "metadata": "{}"}))
    board = read(r)
    assert [(each.kind, each.alert) for each in board.anomalies] == [("change", None), ("anomaly", None)]
    assert board.metrics[0].changes.tolist() == [datetime(2024, 2, 28)]
    assert board.mean_score == pytest.approx(0.43)


def test_a_search_finds_every_word_in_name_or_title(rig: RigOf) -> None:
    r = rig()
    for name in ("Orders north", "orders south", "visits"):
        r.put(name, noise(20))
    metrics = read(r, with_stale=True).metrics

    def found(text: str) -> list[str]:
        return [metric.name for metric in dashboard.search(metrics, text, {"visits": "Besuche (NORD)"})]

    assert found("ORDERS") == ["Orders north", "orders south"]
    assert found("north orders") == ["Orders north"]
    assert found("nord") == ["visits"]
    assert found(" ") == ["Orders north", "orders south", "visits"]
    assert found("%") == []


POINTS = """
select metric_timestamp, metric_name, metric_value * 2 as metric_value, 0.25 as metric_score,
  case when metric_timestamp = '2024-02-20' then 1 else 0 end as metric_alert,
  case when metric_timestamp = '2024-02-21' then 1 else 0 end as metric_change
from {{ table_key }} where metric_batch = '{{ metric_batch }}' and metric_type = 'metric' and metric_name = 'm'
"""


def own(rig: RigOf, sql: str) -> Rig:
    r = rig(dashboard_sql=sql)
    hook = EmbeddedDuckDBHook(r.folder / "metrics.duckdb")
    from anomstack_provider.wiring.queries import own_queries

    r.store = MetricStore(hook, "metrics", "b", queries=own_queries(r.spec, hook, 5.0))
    r.put("m", noise(60))
    r.put("other", noise(60))
    return r


def test_dashboard_sql_gives_the_points_instead(rig: RigOf) -> None:
    r = own(rig, POINTS)
    board = read(r, "20n")
    (metric,) = board.metrics
    shown = board.shown(metric)
    stored = r.rows("metric")
    values = stored[stored["metric_name"] == "m"]["metric_value"].to_numpy()
    assert shown.values.tolist() == (values[-20:] * 2).tolist()
    assert (board.mean_score, metric.alerts.tolist()) == (0.25, [datetime(2024, 2, 20)])
    assert metric.changes.tolist() == [datetime(2024, 2, 21)]
    assert metric.rate == pytest.approx(2 / 20)
    assert len(read(r, "5d").metrics[0].scores) == 4
    assert read(r, now="2024-04-01").stale == ["m"]


def test_dashboard_sql_that_lacks_a_column_names_it(rig: RigOf) -> None:
    r = own(rig, "select 1 as metric_value, 'm' as metric_name")
    with pytest.raises(OverrideError, match="b: dashboard_sql: the result has no column metric_timestamp"):
        read(r)


def test_two_queries_whatever_the_number_of_metrics(rig: RigOf, monkeypatch: pytest.MonkeyPatch) -> None:
    r = rig()
    for number in range(12):
        r.put(f"m{number}", noise(20))
    asked = []
    ask = r.store.read
    monkeypatch.setattr(r.store, "read", lambda *args, **kwargs: asked.append(args) or ask(*args, **kwargs))
    assert len(read(r, with_stale=True).metrics) == 12
    assert len(asked) == 2
