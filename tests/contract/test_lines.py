"""
The lines of Anomstack's contract that no other test holds, and where the tests of the others are (`runs` is
test_folder_runs.py, `here` this file).

| line | held by |
| --- | --- |
| files: any depth, any name, one batch each, duplicates an error that names both | config/test_loader.py |
| files: folder defaults optional | config/test_folder_defaults.py |
| files: includes from the folder on, a missing one fails its key only | config/test_templating.py |
| files: templates see the whole merged spec | operators/test_ingest_operator.py, wiring/test_queries.py, here |
| files: the source's dialect first, then DuckDB's, commas and semicolons | store/test_source.py, runs |
| files: ingest_fn, one namespace, no script block, dagster stand-in | operators/test_ingest_operator.py, here |
| files: needed columns, NaN counted, NaT and infinite refused by row | steps/test_ingest_wrangle.py, here |
| precedence, shallow merge, typed variables, ANOMSTACK_IGNORE_EXAMPLES | config/test_layers.py, here |
| unknown keys, both disable_alert(s), quotes in exclude lists | config/test_spec.py, test_values.py, runs |
| keys and defaults | config/test_spec.py |
| crons that are not what they look like | config/test_values.py, test_anomstack_folder.py |
| preprocess | detection/test_features.py |
| train: newest points, day limit, minimum, learning n/14 | steps/test_steps.py, here |
| score: in [0, 1], one row per key, PyOD's linear probability | detection/test_pipeline.py, steps/test_steps.py |
| alert: smoothing and snoozing look at earlier buckets, one spike is one event | alerting/, steps/test_recipes.py |
| threshold: strict, snoozed across runs | alerting/test_thresholds.py, steps/test_finders.py, runs |
| change: MAD without the newest, fires on a thousand times the usual value | detection/test_change.py, runs |
| llmalert: so many points and the chart are asked about, findings with their explanation | steps/test_llmalert.py, \
operators/test_llmalert_operator.py |
| summary: counts and what was not evaluated, every batch, its own channels | steps/test_summary.py, \
operators/test_summary_operator.py |
| delete: older rows of the batch, on every database | steps/test_delete.py, store/test_conformance.py |
| alert titles and tags | messages/test_message.py, runs |
| every kind of batch, end to end | runs |
| dashboard: home, batch page, search, window, thumbs, stale metrics | ui/test_pages.py, ui/test_browser.py, here |
| keys of the dashboard: disable_, _sql, _stale_metric_max_days_ago | steps/test_dashboard.py, ui/test_pages.py |
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from anomstack_provider.config.loaded import LoadedFolder
from anomstack_provider.config.loader import load_batches
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.config.templating import TemplateError, render
from anomstack_provider.detection.series import Series
from anomstack_provider.steps import dashboard, feedback
from anomstack_provider.steps.ingest import wrangle
from anomstack_provider.steps.period import Period
from anomstack_provider.store.hooks import EmbeddedDuckDBHook
from anomstack_provider.store.metric_store import MetricStore
from anomstack_provider.ui.views import Card, Panel, found_metrics
from tests.contract.conftest import FOLDER

ROOT = Path(__file__).parents[2]


def load(environ: Mapping[str, str] | None = None, folder: Path = FOLDER) -> LoadedFolder:
    return load_batches(folder, environ=environ or {})


def test_the_tests_of_the_table_are_there() -> None:
    named = re.findall(r"[\w/]+\.py", str(__doc__))
    here = {path.relative_to(ROOT / "tests").as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
    assert len(named) > 25
    assert [name for name in named if not any(path.endswith(name) for path in here)] == []


def test_the_folder_loads_without_an_error() -> None:
    loaded = load()
    assert loaded.errors == []
    assert len(loaded.batches) == 15
    assert {name for name, batch in loaded.batches.items() if batch.disabled} == {"disabled"}


def test_files_prompt_fn_may_include_a_file_that_is_not_there() -> None:
    loaded = load()
    batch = loaded.batches["jinja"]
    assert "union all" in batch.spec.render("ingest_sql")
    with pytest.raises(TemplateError, match=r"jinja: prompt_fn: .*prompt\.py' cannot be read"):
        batch.spec.render("prompt_fn")


def test_files_templates_see_the_whole_merged_spec() -> None:
    batch = load({"ANOMSTACK__JINJA__SCORE_MAX_N": "7"}).batches["jinja"]
    text = "{{ metric_batch }} {{ table_key }} {{ score_max_n }} {{ alert_methods }} {{ preprocess_params.lags_n }}"
    assert render(text, batch.spec.names(), FOLDER, where="here") == "jinja contract_metrics 7 email 5"


@pytest.mark.parametrize(
    ("variable", "key", "value"),
    [
        ("DISABLE_ALERT=false", "disable_alert", False),
        ("DISABLE_BATCH=true", "disable_batch", True),
        ("TRAIN_MIN_N=5", "train_min_n", 5),
        ("ALERT_THRESHOLD=0.5", "alert_threshold", 0.5),
        ("ALERT_METHODS=slack", "alert_methods", ("slack",)),
        ("TABLE_KEY=007", "table_key", "007"),
        ("TRAIN_DEFAULT_SCHEDULE_STATUS=running", "train_default_schedule_status", "RUNNING"),
    ],
)
def test_precedence_a_variable_of_the_batch_beats_all_and_has_the_type_of_its_key(
    variable: str, key: str, value: object
) -> None:
    name, _, text = variable.partition("=")
    # The name as in variables: upper case, a dash as an underscore.
    assert getattr(load({f"ANOMSTACK__OWN_TABLE__{name}": text}).batches["own-table"].spec, key) == value


def test_precedence_variables_for_all_batches_leave_a_batchs_own_table() -> None:
    environ = {
        "ANOMSTACK_TABLE_KEY": "all.metrics",
        "ANOMSTACK_MODEL_PATH": "s3://models",
        "ANOMSTACK_GCP_PROJECT_ID": "p",
    }
    batches = load(environ).batches
    assert batches["own-table"].spec.table_key == "shop.metrics"
    jinja = batches["jinja"].spec
    assert (jinja.table_key, jinja.model_path, jinja.gcp_project_id) == ("all.metrics", "s3://models", "p")


def test_precedence_examples_are_left_out_on_demand() -> None:
    assert list(load({"ANOMSTACK_IGNORE_EXAMPLES": "yes"}).batches) == ["python_inline"]


def test_files_what_a_query_returns_is_checked_row_by_row() -> None:
    answer = wrangle(
        pd.DataFrame(
            {
                "metric_timestamp": ["2024-01-01 02:00:00+02:00", "2024-01-02", pd.NaT, "2024-01-04", "2024-01-05"],
                "metric_name": ["a", "a", "no time", "no end", "b"],
                "metric_value": [1.0, np.nan, 3.0, np.inf, 5.0],
                "source": "x",
            }
        ),
        4,
    )
    kept = answer.rows
    assert list(zip(kept["metric_name"], kept["metric_timestamp"].astype(str), kept["metric_value"], strict=True)) == [
        ("a", "2024-01-01", 1.0),
        ("b", "2024-01-05", 5.0),
    ]
    assert answer.empty == 1
    assert answer.refused == {
        "no time": "row 3: metric_timestamp is not a time: NaT, 3.0",
        "no end": "row 4: metric_value is infinite: 2024-01-04, inf",
    }


def test_train_takes_the_newest_points_and_drops_none_of_them() -> None:
    from anomstack_provider.steps.training import History, train_metric

    def trained(points: int) -> object:
        spec = BatchSpec.model_validate(
            {"metric_batch": "b", "ingest_sql": "select 1", "recipe": "anomstack", "train_max_n": 20, "grain": "1d"}
        )
        times = np.datetime64("2024-01-01", "us") + np.arange(points) * np.timedelta64(1, "D")
        # The newest twenty values alone are around 1,000.
        values = np.where(np.arange(points) >= points - 20, 1000.0, 0.0) + np.arange(points) * 13 % 7
        as_of = (times[-1] + np.timedelta64(1, "D")).item().replace(tzinfo=UTC)
        return train_metric(spec, "m", History(Series(times, values)), as_of)

    fitted = trained(60)
    assert fitted.points == 20  # type: ignore[attr-defined]
    assert fitted.baseline.expect(np.array(["2024-03-01"], "datetime64[us]"))[0][0] > 999  # type: ignore[attr-defined]
    assert trained(9) == "learning 9/14"


CALLED = """
import sys
from anomstack_provider.runtime.user_function import call

TEXT = '''
import math
from datetime import timedelta

SCALE = 2


def helper(x):
    return [SCALE * math.floor(y) for y in x]


class Row:
    values = helper([1.5, 2.5])


def ingest(lag=timedelta(days=1), names=("a",)):
    from dagster import get_dagster_logger

    get_dagster_logger().info("asked")
    more = {name: helper([3.5]) for name in names}
    return Row.values, more, lag.days, [SCALE for _ in range(2)]


if __name__ == "__main__":
    raise SystemExit("run by hand")
'''
assert call(TEXT, "ingest", {}, where="b: ingest_fn") == ([2, 4], {"a": [6]}, 1, [2, 2])
assert "dagster" not in sys.modules
print("%d.%d" % sys.version_info[:2])
"""


def _pythons() -> dict[str, str]:
    """Return the interpreters that are here, by version: this one, those of the path and those of pyenv."""
    named = (shutil.which(f"python3.{minor}") for minor in (11, 12, 13))
    installed = sorted(Path.home().glob(".pyenv/versions/3.1[123].*/bin/python"))
    found = {}
    for python in filter(None, [*named, *map(str, installed), sys.executable]):
        # A shim of a version that is not there does not start.
        asked = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        if (done := subprocess.run(asked, capture_output=True, text=True, check=False)).returncode == 0:
            found[done.stdout.strip()] = python
    return found


PYTHONS = _pythons()


@pytest.mark.parametrize("version", sorted(PYTHONS))
def test_files_ingest_fn_has_one_namespace_on_every_python(version: str) -> None:
    """On this one, and on each other one from 3.11 to 3.13 that is here: the names of the tests say which."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [PYTHONS[version], "-c", CALLED]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == version


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[BatchSpec, MetricStore]:
    """A table that Anomstack wrote: values, scores, alerts and changes without anything of ours in them."""
    spec = BatchSpec.model_validate({"metric_batch": "b", "ingest_sql": "select 1"})
    store = MetricStore(EmbeddedDuckDBHook(tmp_path_factory.mktemp("dashboard") / "m.duckdb"), "metrics", "b")
    times = np.datetime64("2024-03-01", "us") + np.arange(100) * np.timedelta64(1, "D")
    put = {"metric_timestamp": times, "metadata": None}
    for name, odd in {"busy north": 8, "busy south": 4, "calm": 0}.items():
        for kind, number in {"metric": 100, "score": 100, "alert": odd, "change": odd // 4}.items():
            rows = {"metric_name": name, "metric_type": kind, "metric_value": 0.2 if kind == "score" else 1.0, **put}
            store.replace(pd.DataFrame(rows)[100 - number :])
    old = {"metric_name": "old", "metric_type": "metric", "metric_value": 1.0, **put}
    store.replace(pd.DataFrame(old)[:80])
    return spec, store


AFTER = datetime(2024, 6, 10, tzinfo=UTC)


def test_dashboard_home_a_card_per_batch_metrics_last_seen_average_score_alerts_sorted_by_alerts(
    watched: tuple[BatchSpec, MetricStore],
) -> None:
    spec, store = watched
    card = Card.of("dag", spec, dashboard.read(spec, store, Period.parse("90n"), AFTER), "")
    assert (card.metrics, card.last_seen, card.score, card.alerts) == (3, "Sat 8 Jun 2024", "0.20", 8 + 4 + 2 + 1)
    others = [Card("x", "quiet"), Card("y", "loud", alerts=99), Card("z", "broken", "no connection")]
    assert [each.name for each in sorted([*others, card], key=Card.rank)] == ["loud", "b", "broken", "quiet"]


def test_dashboard_batch_page_value_score_alerts_changes_sorted_by_anomaly_rate(
    watched: tuple[BatchSpec, MetricStore],
) -> None:
    spec, store = watched
    board = dashboard.read(spec, store, Period.parse("90n"), AFTER)
    assert [(metric.name, round(metric.rate, 3)) for metric in board.metrics] == [
        ("busy north", 0.089),
        ("busy south", 0.044),
        ("calm", 0.0),
    ]
    drawn = Panel.of(board, board.metrics[0]).chart
    assert [drawn.count(f'class="{mark}"') for mark in ("value", "score", "alert", "change")] == [1, 0, 8, 2]


def test_dashboard_search_by_name(watched: tuple[BatchSpec, MetricStore]) -> None:
    spec, store = watched
    board = dashboard.read(spec, store, Period.parse("90n"), AFTER)
    assert [metric.name for metric in found_metrics(board, "BUSY")] == ["busy north", "busy south"]


@pytest.mark.parametrize(("window", "points"), [("90n", 90), ("24h", 0), ("72h", 2), ("4320m", 2), ("7d", 6)])
def test_dashboard_window(watched: tuple[BatchSpec, MetricStore], window: str, points: int) -> None:
    spec, store = watched
    board = dashboard.read(spec, store, Period.parse(window), AFTER)
    assert len(board.shown(board.metrics[0]).times) == points


def test_dashboard_anomaly_list_thumbs_are_stored_as_rows(watched: tuple[BatchSpec, MetricStore]) -> None:
    spec, store = watched
    newest = dashboard.read(spec, store, Period.parse("90n"), AFTER).anomalies[0]
    for word, kind in (("real", "thumbsup"), ("false_alarm", "thumbsdown")):
        feedback.give(spec, store, newest.metric_name, newest.bucket, word, given_at=datetime.now(UTC))
        rows = store.read(["thumbsup", "thumbsdown"], since=None, until=AFTER)
        assert rows["metric_type"].tolist() == [kind]


def test_dashboard_stale_metrics_are_hidden(watched: tuple[BatchSpec, MetricStore]) -> None:
    spec, store = watched
    assert dashboard.read(spec, store, Period.parse("90n"), AFTER).stale == ["old"]
    patient = spec.model_copy(update={"dashboard_stale_metric_max_days_ago": 30})
    assert dashboard.read(patient, store, Period.parse("90n"), AFTER).stale == []
