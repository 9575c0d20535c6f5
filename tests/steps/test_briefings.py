"""What a message and a chart of an alert are made of: read from the stored rows, once, whatever they hold."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection.grain import parse
from anomstack_provider.messages.chart_data import ChartData
from anomstack_provider.messages.surroundings import Surroundings
from anomstack_provider.steps.charts import Briefings
from anomstack_provider.steps.overlay import MemoryRows
from anomstack_provider.steps.seasons import of_grain

NOON = datetime(2024, 7, 1, 12, tzinfo=UTC)
ALERT = Alert(
    event_id="e1",
    metric_batch="web",
    metric_name="orders",
    kind="anomaly",
    transition="opened",
    direction="down",
    bucket=NOON,
    grain="1h",
    value=58.0,
    expected=100.0,
    lower=90.0,
    upper=110.0,
    score=0.9,
    threshold=0.8,
    severity="high",
)


class Rows(MemoryRows):
    """Rows in memory that count the reads, and refuse them when told to."""

    reads = 0
    broken = False

    def read(self, *args: Any, **limits: Any) -> pd.DataFrame:
        self.reads += 1
        if self.broken:
            raise OSError("the warehouse is down")
        return super().read(*args, **limits)

    def add(self, metric_type: str, times: Any, values: Any, metadata: Any = None, name: str = "orders") -> None:
        frame = pd.DataFrame({"metric_timestamp": pd.DatetimeIndex(times).astype("datetime64[us]")})
        named = frame.assign(metric_name=name, metric_type=metric_type, metric_value=values, metadata=metadata)
        self.replace(named)


def hours(days: int, until: datetime = NOON) -> pd.DatetimeIndex:
    return pd.date_range(end=until.replace(tzinfo=None), periods=24 * days, freq="1h")


@pytest.fixture
def rows() -> Rows:
    """Twenty days of hours up to noon: the hour of the day, then 58; the last two days are scored."""
    found = Rows()
    times = hours(20)
    found.add("metric", times, [*times.hour[:-1] * 1.0, 58.0])
    facts = {"value": 1.0, "expected": 100.0, "lower": 90.0, "upper": None, "grain": "1h"}
    facts["model"] = "2024-07-01T00:00:00+00:00"
    found.add("score", times[-48:], [0.1] * 47 + [0.95], json.dumps(facts))
    return found


def spec(**keys: Any) -> BatchSpec:
    base = {"metric_batch": "web", "ingest_sql": "-", "schedule": "@hourly", "alert_smooth_n": 0}
    return BatchSpec.model_validate({**base, "alert_threshold": 0.8, "recipe": "seasonal"} | keys)


def surround(rows: Rows, alert: Alert = ALERT, **keys: Any) -> tuple[ChartData, Surroundings]:
    return Briefings(spec(**keys), rows)._read(alert)


def stamp(time: datetime) -> np.datetime64:
    return np.datetime64(time.replace(tzinfo=None), "us")


def test_message_and_chart_read_once(rows: Rows) -> None:
    told = Briefings(spec(), rows)
    told.compose(ALERT)
    told.draw(ALERT)
    told.compose(ALERT)
    assert rows.reads == 2  # what is shown, and the season before it
    told.compose(replace(ALERT, transition="closed"))
    assert rows.reads == 4


def test_the_first_line_alone_reads_nothing(rows: Rows) -> None:
    told = Briefings(spec(metric_settings={"orders": {"title": "Orders", "unit": "EUR"}}), rows)
    line = told.first_line(ALERT)
    assert rows.reads == 0
    assert line == told.compose(ALERT).first_line


def test_the_message_goes_out_though_nothing_can_be_read(rows: Rows) -> None:
    rows.broken = True
    told = Briefings(spec(), rows, upstream="asset orders: none since 09:00")
    message = told.compose(ALERT)
    assert message.first_line.startswith("[HIGH] web · orders 42 % below expected: 58")
    assert "asset orders: none since 09:00" in message.text
    with pytest.raises(OSError, match="warehouse is down"):
        told.draw(ALERT)


def test_a_message_tells_what_the_config_says_of_the_metric(rows: Rows) -> None:
    about = {"title": "Orders", "unit": "EUR", "owner": "Ann", "runbook": "https://wiki/r", "dashboard": "https://bi/d"}
    told = Briefings(spec(metric_settings={"orders": about}), rows, {"Run": "https://airflow/run"})
    message = told.compose(ALERT)
    assert message.first_line == "[HIGH] Orders (hourly) 42 % below expected: 58 EUR (Mon 1 Jul 12:00 UTC)"
    addresses = [line.split()[-1] for line in message.text.splitlines() if "https://" in line]
    assert addresses == ["https://wiki/r", "https://bi/d", "https://airflow/run"]
    assert "Last week  12 EUR in the same hour (Mon 24 Jun 12:00 UTC)" in message.text
    assert len(told.draw(ALERT)) > 5000


def test_the_chart_holds_values_band_and_what_fired(rows: Rows) -> None:
    data, _ = surround(rows)
    assert len(data.times) == 100
    assert data.times[-1] == stamp(NOON)
    assert data.values[-1] == 58
    assert data.fired.tolist() == [NOON.replace(tzinfo=None)]
    assert data.expected is not None
    assert data.upper is not None
    assert np.isfinite(data.expected).sum() == 48
    assert not np.isfinite(data.upper).any()


def test_what_fired_within_its_range_is_marked_only_where_it_was_told_or_is_the_events_own(rows: Rows) -> None:
    """Scores of 0.95 at hours before noon, with their values; of the usual ones 40 h before was an alert."""
    times = hours(20)
    scores, values = np.full(48, 0.1), np.full(48, 100.0)
    fired = {47: 100.0, 40: 100.0, 30: 160.0, 29: 100.0, 27: 100.0, 20: 100.0, 6: 58.0, 4: 100.0, 0: 58.0}
    for before, value in fired.items():
        scores[47 - before], values[47 - before] = 0.95, value
    facts = {"expected": 100.0, "lower": 90.0, "upper": 110.0, "grain": "1h", "model": "2024-07-01T00:00:00+00:00"}
    rows.add("metric", times[-48:], values)
    rows.add("score", times[-48:], scores, [json.dumps({"value": value} | facts) for value in values])
    rows.add("alert", times[[-41]], 1.0, replace(ALERT, bucket=NOON - timedelta(hours=40)).to_json())
    event = replace(ALERT, first_bucket=NOON - timedelta(hours=20), last_bucket=NOON)
    data, _ = surround(rows, event)
    # 27 to 29 h and 4 h before are echoes; 47 h before is a mark of its own that nobody was told of.
    assert ((stamp(NOON) - data.fired) // np.timedelta64(1, "h")).tolist() == [40, 30, 20, 6, 0]


def test_the_season_before_is_laid_over_its_own_hours(rows: Rows) -> None:
    data, around = surround(rows)
    assert around.season_bucket == NOON - timedelta(days=7)
    assert around.season_value == 12
    assert data.season_name == "week before"
    assert len(data.season) == 100
    assert data.season_times[-1] == stamp(NOON)
    assert (data.season == pd.DatetimeIndex(data.season_times).hour).all()


def test_no_season_is_told_where_no_row_is_that_old() -> None:
    young = Rows()
    young.add("metric", hours(3), 1.0)
    data, around = surround(young)
    assert around == Surroundings()
    assert not len(data.season)


def test_a_week_is_one_of_the_wall_clock() -> None:
    """New York's clocks went forward on 10 March: noon was 17:00 UTC the week before and is 16:00 UTC now."""
    shift = of_grain(parse("1h"))
    assert shift is not None
    noon = np.array(["2024-03-11T16:00"], "datetime64[us]")
    assert shift.shift(noon, -1, "America/New_York").tolist() == [datetime(2024, 3, 4, 17)]
    assert shift.shift(shift.shift(noon, -1, "America/New_York"), 1, "America/New_York").tolist() == noon.tolist()


@pytest.mark.parametrize(
    ("grain", "bucket", "earlier"),
    [
        ("1d", "2024-03-12T04:00", "2024-03-05T05:00"),
        ("15min", "2024-07-01T12:15", "2024-06-24T12:15"),
        ("1w", "2024-07-01T04:00", "2023-07-03T04:00"),
        ("1mo", "2024-03-01T05:00", "2023-03-01T05:00"),
        ("3mo", "2024-04-01T04:00", "2023-04-01T04:00"),
    ],
)
def test_season_of_a_grain(grain: str, bucket: str, earlier: str) -> None:
    season = of_grain(parse(grain))
    assert season is not None
    shifted = season.shift(np.array([bucket], "datetime64[us]"), -1, "America/New_York")
    assert shifted.tolist() == [datetime.fromisoformat(earlier)]


@pytest.mark.parametrize("grain", ["instant", "2d", "5mo", "2w", "5h"])
def test_some_grains_have_no_season(grain: str) -> None:
    assert of_grain(parse(grain)) is None


def test_the_last_alert_is_the_opening_of_the_event_before(rows: Rows) -> None:
    def stored(hours_ago: int, transition: str, event_id: str) -> tuple[datetime, str]:
        bucket = NOON - timedelta(hours=hours_ago)
        alert = replace(ALERT, bucket=bucket, transition=transition, event_id=event_id)
        return bucket.replace(tzinfo=None), alert.to_json()

    found = [stored(90, "opened", "e0"), stored(80, "closed", "e0"), stored(4, "opened", "e1")]
    found += [stored(2, "escalated", "e1"), stored(0, "closed", "e1")]
    rows.add("alert", [time for time, _ in found], 1.0, [text for _, text in found])
    event = replace(ALERT, first_bucket=NOON - timedelta(hours=4), transition="closed")
    _, around = surround(rows, event)
    assert around.last_alert == NOON - timedelta(hours=90)


@pytest.mark.parametrize("metadata", [None, "", "not json", "[]", '{"by": "another tool"}'])
def test_an_alert_of_another_tool_counts(rows: Rows, metadata: str | None) -> None:
    rows.add("alert", [NOON.replace(tzinfo=None) - timedelta(hours=9)], 1.0, metadata)
    rows.add("alert", [NOON.replace(tzinfo=None) - timedelta(hours=5)], 0.0, metadata)  # looked at, none found
    rows.add("score", [NOON.replace(tzinfo=None) - timedelta(hours=200)], 0.5, metadata)
    _, around = surround(rows)
    assert around.last_alert == NOON - timedelta(hours=9)


def test_late_data_show_the_gap_and_what_was_there_a_week_before(rows: Rows) -> None:
    later = NOON + timedelta(hours=5)
    late = replace(ALERT, kind="late", direction="none", bucket=later, first_bucket=NOON + timedelta(hours=1))
    late = replace(late, value=None, expected=None, lower=None, upper=None, score=None, threshold=None)
    data, around = surround(rows, late)
    assert data.times[-1] == stamp(NOON)
    assert data.season_times[-1] == stamp(later)
    assert not len(data.fired)
    assert around.season_value == 17
    assert len(Briefings(spec(), rows).draw(late)) > 5000


def test_a_late_batch_shows_the_first_of_its_metrics(rows: Rows) -> None:
    rows.add("metric", hours(20), 7.0, name="visits")
    late = replace(ALERT, kind="late", metric_name="*", metrics=("visits", "orders"), value=None)
    data, _ = surround(rows, late)
    assert data.name == "visits"
    assert (data.values == 7).all()


def test_a_threshold_event_marks_its_own_buckets_beyond_the_bound(rows: Rows) -> None:
    first = NOON - timedelta(hours=14)  # at 22:00; noon itself has 58
    alert = replace(ALERT, kind="threshold", direction="up", upper=21.5, lower=None, first_bucket=first)
    data, _ = surround(rows, replace(alert, last_bucket=NOON))
    assert [time.hour for time in data.fired.tolist()] == [22, 23, 12]


def test_a_change_marks_all_of_its_buckets(rows: Rows) -> None:
    alert = replace(ALERT, kind="change", first_bucket=NOON - timedelta(hours=3), last_bucket=NOON)
    data, _ = surround(rows, alert)
    assert [time.hour for time in data.fired.tolist()] == [9, 10, 11, 12]


def test_a_long_event_is_shown_from_before_its_start(rows: Rows) -> None:
    alert = replace(ALERT, first_bucket=NOON - timedelta(hours=240), transition="expired")
    data, _ = surround(rows, alert, alert_max_n=1000)
    assert len(data.times) == 320
    assert len(surround(rows, alert)[0].times) == 250  # alert_max_n


def test_days_of_the_calendar_are_one_stretch_each(rows: Rows) -> None:
    events = [{"name": "sale", "start": "2024-06-29", "end": "2024-06-30", "action": "annotate"}]
    data, _ = surround(rows, events=events)
    assert [name for _, _, name in data.days] == ["sale"]
    start, end, _ = data.days[0]
    assert (start, end) == (np.datetime64("2024-06-29", "us"), np.datetime64("2024-07-01", "us"))


def test_the_start_of_training_is_that_of_the_newest_model(rows: Rows) -> None:
    data, _ = surround(rows, train_metric_timestamp_max_days_ago=3)
    assert data.training_start == np.datetime64("2024-06-28", "us")


def test_a_batch_with_a_frequency_shows_its_own_buckets(rows: Rows) -> None:
    facts = {"expected": 1.0, "lower": 0.0, "upper": 2.0, "grain": "1h", "model": "2024-07-01T00:00:00+00:00"}
    times = hours(9)
    rows.add("score", times, 0.1, [json.dumps(facts | {"value": float(i)}) for i in range(len(times))])
    data, around = surround(rows, preprocess_params={"freq": "1h"}, recipe="anomstack")
    assert data.values[-1] == len(times) - 1
    assert around.season_value == len(times) - 1 - 168


def test_an_empty_table_gives_an_empty_chart() -> None:
    told = Briefings(spec(), Rows())
    assert told._read(ALERT)[1] == Surroundings()
    assert len(told.draw(ALERT)) > 1000
