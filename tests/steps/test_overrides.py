"""A step works on the rows of the batch's own query: those before its moment, live as in a backfill and a preview."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anomstack_provider.alerting.alert import Alert
from anomstack_provider.artifacts.model_store import open_model_store
from anomstack_provider.config.cautions import cautions
from anomstack_provider.config.errors import TemplateError
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.runtime.ticks import last_tick
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.alert import alert
from anomstack_provider.steps.charts import Briefings
from anomstack_provider.steps.overlay import MemoryRows
from anomstack_provider.steps.overrides import OverrideError
from anomstack_provider.steps.preview import Preview, preview
from anomstack_provider.steps.score import score
from anomstack_provider.steps.train import train
from anomstack_provider.store.errors import NoQueries, SourceError
from anomstack_provider.wiring.batches import inline_spec, open_stores
from tests.steps.conftest import at, noise

BASE: dict[str, Any] = {
    "metric_batch": "b",
    "ingest_sql": "select 1",
    "schedule": "@daily",
    "train_cron_schedule": "@weekly",
    "recipe": "anomstack",
    "model_configs": [{"model_name": "KNN"}],
    "preprocess_params": {"diff_n": 0, "smooth_n": 0, "lags_n": 2},
    "alert_smooth_n": 0,
    "alert_threshold": 0.9,
    "disable_change": True,
    "score_metric_rounding": -1,
}
ALL = """
select metric_timestamp, metric_batch, metric_name, metric_type, metric_value
from {{ table_key }} where metric_batch = '{{ metric_batch }}' and metric_type = 'metric'
"""
WINDOW = RunWindow(at("2024-02-28"), at("2024-03-05"))


@dataclass
class Batch:
    """A batch as an operator has it: over the DuckDB file and the folder of the test's own settings."""

    spec: BatchSpec
    folder: Path
    sent: dict[tuple[str, str], Alert] = field(default_factory=dict)

    def put(self, name: str, values: np.ndarray, start: str = "2024-01-01", freq: str = "1D") -> None:
        times = pd.date_range(start, periods=len(values), freq=freq).astype("datetime64[us]")
        columns = {"metric_name": name, "metric_type": "metric", "metric_timestamp": times, "metric_value": values}
        open_stores(self.spec).metrics.replace(pd.DataFrame({**columns, "metadata": None}))

    def rows(self, kind: str) -> pd.DataFrame:
        return open_stores(self.spec).metrics.read([kind], since=None, until=at("2100-01-01"))

    def scores(self) -> dict[tuple[str, str], tuple[str, str]]:
        """Scores and their metadata by metric and time, numbers as the text of their bits."""
        found = self.rows("score").itertuples()
        return {(r.metric_name, str(r.metric_timestamp)): (r.metric_value.hex(), r.metadata) for r in found}

    def models(self) -> Any:
        return open_model_store(f"file://{self.folder}/models", "/")

    def run(self, window: RunWindow) -> None:
        train(self.spec, window, open_stores(self.spec).metrics, self.models())
        score(self.spec, window, open_stores(self.spec).metrics, self.models())
        for found in alert(self.spec, window, open_stores(self.spec).metrics, self.models()).alerts:
            known = self.sent.setdefault((found.event_id, found.key), found)
            assert known == found

    def intervals(self, whole: RunWindow = WINDOW) -> list[RunWindow]:
        found, end = [], whole.end
        while end > whole.start:
            found.append(RunWindow(last_tick(self.spec.cron, self.spec.timezone, end), end))
            end = found[-1].start
        return found[::-1]

    def live(self, seed: int | None = None) -> Batch:
        """Run interval by interval; with a seed in any order."""
        windows = self.intervals()
        if seed is not None:
            random.Random(seed).shuffle(windows)
        for window in windows:
            self.run(window)
        return self

    def preview(self) -> Preview:
        return preview(self.spec, WINDOW, open_stores(self.spec).metrics)


@pytest.fixture
def batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Batch]:
    """A batch of these keys with two metrics of 90 days, a spike in one of them, its includes in ``metrics``."""

    def build(**keys: Any) -> Batch:
        monkeypatch.setenv("AIRFLOW__ANOMSTACK__DUCKDB_PATH", str(tmp_path / "anomstack.duckdb"))
        monkeypatch.setenv("AIRFLOW__ANOMSTACK__METRICS_DIR", str(tmp_path / "metrics"))
        found = Batch(inline_spec({**BASE, **keys}), tmp_path)
        spiked = noise(90)
        spiked[60] += 60
        found.put("orders", np.round(spiked, 4))
        found.put("users", np.round(noise(90, 1), 4))
        return found

    return build


def write(folder: Path, name: str, text: str) -> None:
    path = folder / "metrics" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def in_window(scores: dict[tuple[str, str], tuple[str, str]]) -> dict[tuple[str, str], tuple[str, str]]:
    return {key: told for key, told in scores.items() if "2024-02-28" <= key[1][:10] < "2024-03-05"}


def assert_live_is_preview(one: Batch, seed: int | None) -> None:
    """Compare every score of the window to the bit, and what would have been told in it."""
    expected = one.preview()
    found = expected.rows.read(["score"], since=None, until=at("2100-01-01")).itertuples()
    scores = {(r.metric_name, str(r.metric_timestamp)): (r.metric_value.hex(), r.metadata) for r in found}
    one.live(seed)
    assert in_window(one.scores()) == in_window(scores)
    assert scores
    told = {(a.event_id, a.key) for a in expected.alerts}
    assert told <= one.sent.keys()
    extra = [found for key, found in one.sent.items() if key not in told]
    assert all(found.bucket < WINDOW.start for found in extra)


# --- train_sql -------------------------------------------------------------------------------------------------------


def test_the_same_rows_from_a_query_are_the_same_scores(batch: Callable[..., Batch]):
    plain = batch().live().scores()
    own = batch(train_sql=ALL, score_sql=ALL)
    own.folder = own.folder / "own"
    assert own.live().scores() == plain


def test_training_rows_are_those_of_the_query(batch: Callable[..., Batch]):
    one = batch(train_sql=f"select * from ({ALL}) where metric_value < 101 and metric_name = 'orders'")
    result = train(one.spec, WINDOW, open_stores(one.spec).metrics, one.models())
    assert result.outcomes == {"orders": "trained"}
    (fitted,) = (one.models().load(key).models["orders"] for key in _keys(one, result.facts["ticks"][-1:]))
    values = np.round(noise(90), 4)
    values[60] += 60
    assert fitted.points == int((values[:62] < 101).sum()), "those before the tick of 2024-03-03"


def _keys(one: Batch, ticks: list[str]) -> list[Any]:
    from datetime import datetime

    from anomstack_provider.steps.train import model_key

    return [model_key(one.spec, datetime.fromisoformat(tick)) for tick in ticks]


def test_limits_are_the_query_s_own_and_its_names_are_those_of_the_tick(batch: Callable[..., Batch]):
    sql = ALL + "and metric_timestamp >= '{{ as_of.subtract(days=20) }}'::timestamptz at time zone 'UTC'"
    one = batch(train_sql=sql, train_max_n=14, train_min_n=14)
    result = train(one.spec, WINDOW, open_stores(one.spec).metrics, one.models())
    for key in _keys(one, result.facts["ticks"]):
        assert {fitted.points for fitted in one.models().load(key).models.values()} == {20}
    assert result.facts["ticks"]


def test_a_query_that_gives_the_future_trains_nothing_on_it(batch: Callable[..., Batch]):
    ends = "(select max(metric_timestamp) from {{ table_key }})"
    one = batch(train_sql=ALL, score_sql=f"{ALL} and metric_timestamp <= {ends}")
    first = RunWindow(at("2024-02-20"), at("2024-02-21"))
    one.run(first)
    before = one.scores()
    one.put("orders", np.full(30, 1e6), start="2024-02-21")
    later = batch(train_sql=one.spec.train_sql, score_sql=one.spec.score_sql)
    later.folder = one.folder / "again"
    later.put("orders", np.full(30, 1e6), start="2024-02-21")
    later.run(first)
    assert later.scores() == before


def test_a_metric_with_too_few_rows_of_the_query_learns(batch: Callable[..., Batch]):
    one = batch(train_sql=ALL + "and (metric_name = 'users' or metric_timestamp < '2024-01-10')")
    result = train(one.spec, WINDOW, open_stores(one.spec).metrics, one.models())
    assert result.outcomes == {"orders": "learning 9/14", "users": "trained"}


def test_what_the_models_are_made_of_is_in_their_hash(batch: Callable[..., Batch], tmp_path: Path):
    write(tmp_path, "own/train.sql", ALL)
    keys = {"train_sql": "{% include './own/train.sql' %}"}
    first = batch(**keys).spec.config_hash()
    assert batch(**keys).spec.config_hash() == first
    assert batch(**keys, table_key="other").spec.config_hash() != first, "the file names table_key"
    assert batch(**keys, score_max_n=7).spec.config_hash() == first
    write(tmp_path, "own/train.sql", ALL + "and metric_value > 0")
    assert batch(**keys).spec.config_hash() != first


# --- score_sql -------------------------------------------------------------------------------------------------------


def test_scores_are_of_the_values_that_the_query_gives(batch: Callable[..., Batch]):
    ten = f"select metric_timestamp, metric_name, metric_value * 10 as metric_value from ({ALL})"
    one = batch(train_sql=ten, score_sql=ten)
    one.run(RunWindow(at("2024-03-01"), at("2024-03-02")))
    told = {key: json.loads(metadata) for key, (_, metadata) in one.scores().items()}
    assert told["orders", "2024-03-01 00:00:00"]["value"] == pytest.approx(10 * round(noise(90)[60] + 60, 4))


def test_a_metric_that_the_query_leaves_out_is_not_scored_and_that_is_said(batch: Callable[..., Batch]):
    one = batch(score_sql=ALL + "and metric_name <> 'users'")
    result = score(one.spec, WINDOW, open_stores(one.spec).metrics, one.models())
    assert result.outcomes == {"orders": "scored", "users": "left out by score_sql"}
    assert {name for name, _ in one.scores()} == {"orders"}


NEWEST = f"""
select metric_timestamp, metric_name, metric_value from (
  select *, row_number() over (partition by metric_name order by metric_timestamp desc) as recency
  from ({ALL}) where metric_timestamp < timestamp '{{{{ as_of.strftime("%Y-%m-%d %H:%M:%S") }}}}'
) where recency <= {{{{ score_max_n }}}}
"""


@pytest.mark.parametrize("seed", [None, 1])
@pytest.mark.parametrize(
    "keys",
    [
        {"train_sql": ALL},
        {"score_sql": NEWEST, "score_max_n": 5},
        {"train_sql": ALL, "score_sql": ALL + "and metric_value < 150"},
        {"train_sql": NEWEST, "score_max_n": 30},
    ],
    ids=["train", "newest to score", "both", "newest to train"],
)
def test_live_is_preview(batch: Callable[..., Batch], keys: dict[str, Any], seed: int | None):
    assert_live_is_preview(batch(**keys), seed)


def test_a_late_bucket_is_scored_with_the_rows_of_its_own_run(batch: Callable[..., Batch]):
    keys = {"score_sql": NEWEST, "score_max_n": 3}
    one = batch(**keys)
    score(one.spec, WINDOW, open_stores(one.spec).metrics, one.models())
    expected = in_window(one.scores())
    late = batch(**keys)
    late.folder = one.folder / "late"
    open_stores(late.spec).metrics.replace(
        one.rows("score").iloc[:0], clear=one.rows("score")[["metric_name", "metric_type", "metric_timestamp"]]
    )
    window = RunWindow(at("2024-03-04"), at("2024-03-05"))
    score(late.spec, window, open_stores(late.spec).metrics, late.models())
    assert late.scores().items() <= expected.items()
    assert len(late.scores()) == 6


# --- alert_sql -------------------------------------------------------------------------------------------------------

FAR = f"""
select metric_timestamp, metric_batch, metric_name, metric_value, abs(metric_value - 100) / 100 as metric_score,
  case when metric_value > 140 then 1 else 0 end as metric_alert
from ({ALL})
"""


def alerts_of(one: Batch, window: RunWindow) -> list[tuple[str, str, str, str]]:
    found = alert(one.spec, window, open_stores(one.spec).metrics, one.models()).alerts
    return [(a.transition, a.metric_name, str(a.bucket.date()), a.direction) for a in found]


def test_what_the_query_calls_an_alert_is_one_and_makes_events(batch: Callable[..., Batch]):
    one = batch(alert_sql=FAR, alert_snooze_n=1)
    spike = RunWindow(at("2024-03-01"), at("2024-03-02"))
    found = alert(one.spec, spike, open_stores(one.spec).metrics, one.models())
    (told,) = found.alerts
    assert (told.transition, told.metric_name, told.direction, told.kind) == ("opened", "orders", "up", "anomaly")
    assert told.why == ("The batch's own alert_sql says so, with a score of 0.578",)
    assert (told.value, told.score, told.threshold) == (157.8178, pytest.approx(0.578178), None)
    assert found.result.outcomes == {"orders": "alerted", "users": "evaluated"}
    assert not len(one.rows("score")), "the query asked for no score of ours"
    assert alerts_of(one, RunWindow(at("2024-03-02"), at("2024-03-03"))) == [("opened", "orders", "2024-03-01", "up")]
    assert ("closed", "orders", "2024-03-03", "up") in alerts_of(one, RunWindow(at("2024-03-03"), at("2024-03-04")))


def test_its_chart_marks_what_the_query_called_an_alert(batch: Callable[..., Batch]):
    one = batch(alert_sql=FAR)
    one.run(RunWindow(at("2024-03-01"), at("2024-03-02")))
    (told,) = one.sent.values()
    data, _ = Briefings(one.spec, open_stores(one.spec).metrics)._read(told)
    assert data.fired.astype(str).tolist() == ["2024-03-01T00:00:00.000000"]


def test_scores_without_a_decision_are_judged_by_the_threshold(batch: Callable[..., Batch]):
    sql = f"select * exclude (metric_alert) from ({FAR})"
    spike = RunWindow(at("2024-03-01"), at("2024-03-02"))
    assert alerts_of(batch(alert_sql=sql, alert_threshold=0.5), spike) == [("opened", "orders", "2024-03-01", "up")]
    assert alerts_of(batch(alert_sql=sql, alert_threshold=0.6), spike) == []
    assert alerts_of(batch(alert_sql=sql, alert_threshold=0.5, alert_smooth_n=1), spike) == []


def test_a_bucket_with_a_score_of_ours_keeps_its_expected_value(batch: Callable[..., Batch]):
    sql = """
      select metric_timestamp, metric_name, metric_value as metric_score, metric_value > 0.9 as metric_alert
      from {{ table_key }} where metric_batch = 'b' and metric_type = 'score'
    """
    one = batch(alert_sql=sql)
    spike = RunWindow(at("2024-03-01"), at("2024-03-02"))
    one.run(spike)
    (told,) = one.sent.values()
    assert told.expected == pytest.approx(101.26415)
    assert told.severity == "high"


def test_gates_and_thresholds_hold_beside_the_query(batch: Callable[..., Batch]):
    spike = RunWindow(at("2024-03-01"), at("2024-03-02"))
    down = batch(alert_sql=FAR, alert_gates={"direction": "down"})
    assert alerts_of(down, spike) == []
    both = batch(alert_sql=FAR, disable_tholdalert=False, tholdalert_thresholds={"orders": {"upper": 150}})
    (told,) = alert(both.spec, spike, open_stores(both.spec).metrics, both.models()).alerts
    assert told.why[1] == "158 is above the upper threshold of 150"


def test_no_alert_comes_of_a_bucket_that_is_not_over(batch: Callable[..., Batch]):
    one = batch(alert_sql=FAR)
    assert alerts_of(one, RunWindow(at("2024-02-29"), at("2024-03-01"))) == []
    assert alerts_of(batch(alert_sql=FAR, completeness_delay="1h"), RunWindow(at("2024-03-01"), at("2024-03-02"))) == []


@pytest.mark.parametrize("column", ["metric_timestamp", "metric_name", "metric_score"])
def test_a_column_that_alerts_need_is_named(batch: Callable[..., Batch], column: str):
    one = batch(alert_sql=f"select * exclude ({column}) from ({FAR})")
    with pytest.raises(OverrideError, match=f"b: alert_sql: the result has no column {column}; it has metric_"):
        alerts_of(one, WINDOW)


# --- change_sql ------------------------------------------------------------------------------------------------------

CHANGE: dict[str, Any] = {"disable_change": False, "disable_alert": True, "change_snooze_n": 0}
SPIKE = RunWindow(at("2024-03-01"), at("2024-03-02"))


def test_levels_are_those_of_the_rows_of_the_query(batch: Callable[..., Batch]):
    assert alerts_of(batch(**CHANGE), SPIKE) == [("opened", "orders", "2024-03-01", "up")]
    flipped = f"select metric_timestamp, metric_name, -metric_value as metric_value from ({ALL})"
    one = batch(**CHANGE, change_sql=flipped)
    assert alerts_of(one, SPIKE) == [("opened", "orders", "2024-03-01", "down")]
    assert alerts_of(batch(**CHANGE, change_sql=f"{ALL} and metric_name = 'users'"), SPIKE) == []


def test_how_many_points_there_are_is_the_query_s_to_say(batch: Callable[..., Batch]):
    days = {"change_metric_timestamp_max_days_ago": 1}
    assert alerts_of(batch(**CHANGE, **days), SPIKE) == []
    assert alerts_of(batch(**CHANGE, **days, change_sql=ALL), SPIKE) == [("opened", "orders", "2024-03-01", "up")]
    newest = ALL + "and metric_timestamp >= timestamp '2024-02-25'"
    assert alerts_of(batch(**CHANGE, change_sql=newest), SPIKE) == []


@pytest.mark.parametrize("seed", [None, 1])
@pytest.mark.parametrize(
    "keys",
    [{"alert_sql": FAR}, {**CHANGE, "change_sql": NEWEST, "score_max_n": 30}],
    ids=["alert", "newest for change"],
)
def test_live_is_preview_run_by_run(batch: Callable[..., Batch], keys: dict[str, Any], seed: int | None):
    one = batch(**keys)
    assert one.preview().alerts or one.spec.disable_alert
    if not one.spec.disable_alert:
        assert_live_is_preview(one, seed)
        return
    # A preview of a batch that does not alert on scores says so and decides nothing; runs agree with themselves.
    sent = one.live(seed).sent
    again = batch(**keys)
    again.folder = one.folder / "again"
    assert again.live(2).sent == sent
    assert sent


# --- what a query may not be -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("select metric_timestamp, metric_name from ({all})", "b: score_sql: the result has no column metric_value"),
        ("select * replace ('x' as metric_value) from ({all})", "b: score_sql: column metric_value: 'x' is not a"),
        ("select * replace ('inf'::double as metric_value) from ({all})", "score_sql: column metric_value: .*inf"),
        ("select * replace ('soon' as metric_timestamp) from ({all})", "column metric_timestamp: 'soon' of metric"),
        ("select * from ({all}) union all from ({all})", "score_sql: metric '(orders|users)' has two rows at 2024"),
        ("select * replace ('c' as metric_batch) from ({all})", "metric_batch: .*'c'; ask for metric_batch = 'b'"),
        ("select * replace ('score' as metric_type) from ({all})", "metric_type: .*'score'; ask for metric_type"),
        ("select * replace (null as metric_name) from ({all})", "score_sql: a row has no metric_name"),
    ],
)
def test_rows_that_cannot_be_worked_on_are_named(batch: Callable[..., Batch], sql: str, said: str):
    one = batch(score_sql=sql.replace("{all}", ALL))
    with pytest.raises(OverrideError, match=said):
        score(one.spec, WINDOW, open_stores(one.spec).metrics, one.models())


def test_a_broken_template_is_named_with_its_line(batch: Callable[..., Batch], tmp_path: Path):
    write(tmp_path, "own/score.sql", "select 1\nfrom {{ tabel_key }}")
    one = batch(score_sql="{% include './own/score.sql' %}")
    with pytest.raises(TemplateError, match=r"b: score_sql: \./own/score\.sql:2: 'tabel_key' is undefined"):
        score(one.spec, WINDOW, open_stores(one.spec).metrics, one.models())
    missing = batch(score_sql="{% include './own/none.sql' %}")
    train(missing.spec, WINDOW, open_stores(missing.spec).metrics, missing.models())
    with pytest.raises(TemplateError, match=r"b: score_sql: include of '\./own/none\.sql' cannot be read"):
        score(missing.spec, WINDOW, open_stores(missing.spec).metrics, missing.models())


def test_sql_that_the_database_refuses_is_shown(batch: Callable[..., Batch]):
    one = batch(train_sql="select no_such_column from {{ table_key }}")
    with pytest.raises(SourceError, match=r"b: train_sql: .*no_such_column"):
        train(one.spec, WINDOW, open_stores(one.spec).metrics, one.models())


def test_rows_in_memory_cannot_be_asked(batch: Callable[..., Batch]):
    one = batch(train_sql=ALL)
    rows = MemoryRows()
    rows.replace(one.rows("metric"))
    with pytest.raises(NoQueries, match="train_sql asks the database"):
        preview(one.spec, WINDOW, rows)


def test_what_anomstack_s_defaults_include_is_built_in(batch: Callable[..., Batch], tmp_path: Path):
    text = '{% include "./defaults/sql/{}.sql" %}\n'
    write(tmp_path, "defaults/sql/train.sql", "select never from run")
    plain = batch().live().scores()
    keys = {f"{step}_sql": text.replace("{}", step) for step in ("train", "score", "alert", "change")}
    one = batch(**keys)
    one.folder = one.folder / "own"
    assert one.live().scores() == plain
    (caution,) = cautions(one.spec)
    assert caution[0] == "alert_sql"
    assert "(alert_sql, change_sql, score_sql, train_sql)" in caution[1]


@pytest.mark.parametrize("clock", ["current_timestamp", "now()", "get_current_timestamp()", "date('now', '-1 day')"])
def test_a_query_that_reads_the_clock_is_warned_of(batch: Callable[..., Batch], tmp_path: Path, clock: str):
    write(tmp_path, "own/score.sql", f"{ALL} and metric_timestamp < {clock}")
    for text in (f"select {clock}", "{% include './own/score.sql' %}"):
        ((key, said),) = cautions(batch(score_sql=text).spec)
        assert key == "score_sql"
        assert "reads the clock" in said
    assert cautions(batch(score_sql="select 1 -- now()").spec) == []


def test_templates_of_anomstack_find_its_names(batch: Callable[..., Batch]):
    """Its own ask whether a list is defined, and join names that carry their quotes."""
    listed = "and metric_name not in ({{ ','.join(score_exclude_metrics) }})"
    sql = ALL + "{% if score_exclude_metrics is defined %}" + listed + "{% endif %};"
    one = batch(score_sql=sql)
    assert score(one.spec, WINDOW, open_stores(one.spec).metrics, one.models()).rows
    other = batch(score_sql=sql, score_exclude_metrics=["'users'"])
    assert "not in ('users')" in other.spec.render("score_sql")
