"""
What `anomstack migrate --write` makes of the folder: run from its rows to its alerts, beside the folder as it is.

The series is that of test_folder_runs.py: a spike on 1 March. A batch of the written folder that asks for no models of
its own is judged by recipe seasonal, so its scores are other ones. What may not change is what is stored, which rules
judge it, and that the spike is told on its day and once.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from anomstack_provider.config.loader import load_batches
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.migrate.folder import write_folder
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.preview import fetch_history, preview
from anomstack_provider.wiring.fetch import fetch_outside_airflow
from tests.contract.conftest import FOLDER

START, SPIKE, END = datetime(2024, 2, 25, tzinfo=UTC), datetime(2024, 3, 1), datetime(2024, 3, 9, 6, tzinfo=UTC)
Told = list[tuple[str, str, str, datetime]]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("migrated") / "folder"
    write_folder(FOLDER, target)
    return target


def specs(folder: Path) -> dict[str, BatchSpec]:
    loaded = load_batches(folder, environ={})
    assert loaded.errors == []
    return {name: batch.spec for name, batch in loaded.batches.items()}


def run(folder: Path, batch: str, monkeypatch: pytest.MonkeyPatch) -> tuple[pd.DataFrame, Told]:
    """Return the points that a batch ingests by its own query, and what its runs of two weeks tell."""
    monkeypatch.setenv("AIRFLOW__ANOMSTACK__METRICS_DIR", str(folder))
    spec = specs(folder)[batch]
    rows, _ = fetch_history(spec, RunWindow(START, END), lambda part: fetch_outside_airflow(spec, part, str(folder)))
    points = rows.read(["metric"], since=None, until=END)
    found = preview(spec, RunWindow(START, END), rows)
    told = [(a.metric_name, a.kind, a.transition, a.bucket.replace(tzinfo=None)) for a in found.alerts]
    return points, sorted(told)


def event(name: str, kind: str, day: int, length: int = 4) -> Told:
    return [(name, kind, "opened", datetime(2024, 3, day)), (name, kind, "closed", datetime(2024, 3, day + length))]


# By batch what is told of the spike on the first of March. Scores of the old recipe are means with earlier ones, so
# included_sql tells it a day later as it is; what recipe seasonal tells of the sums of days is the spike alone.
TOLD = {
    "included_sql": event("orders", "anomaly", 1),
    "python_inline": event("orders", "anomaly", 1),
    "freq": event("orders", "anomaly", 1),
    "levels": event("orders", "change", 1),
    "thresholds": event("orders", "threshold", 1) + event("refunds", "threshold", 1),
    "names": [told for name in ("o'brien.sales", "two words ☕", "web/orders") for told in event(name, "threshold", 1)],
    "jinja": [],
    "python_included": [],
    "models": [],  # its only metric is in alert_exclude_metrics
}
# Batches of which the folder as it is tells the same: no alert of theirs is decided by a score.
SAME = {"levels", "thresholds", "names", "jinja", "python_included", "models"}


@pytest.mark.parametrize("batch", TOLD)
def test_a_written_batch_stores_the_same_and_tells_the_spike(
    written: Path, batch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_points, old = run(FOLDER, batch, monkeypatch)
    new_points, new = run(written, batch, monkeypatch)
    keys = ["metric_name", "metric_timestamp", "metric_value"]
    assert len(new_points) >= 69
    pd.testing.assert_frame_equal(
        *(points.sort_values(keys)[keys].reset_index(drop=True) for points in (old_points, new_points))
    )
    assert new == sorted(TOLD[batch])
    if batch in SAME:
        assert old == new
    else:
        opened = [bucket for _, _, transition, bucket in old if transition == "opened"]
        assert SPIKE in opened or SPIKE.replace(day=2) in opened


def test_who_chose_models_keeps_them_and_all_others_are_judged_by_season(written: Path) -> None:
    old, new = specs(FOLDER), specs(written)
    assert set(new) == set(old)
    assert {name for name, spec in new.items() if spec.recipe == "anomstack"} == {"models"}
    assert new["models"].model_configs == old["models"].model_configs
    for name, spec in new.items():
        assert (spec.metric_batch, spec.table_key) == (name, old[name].table_key)
        # Recipe seasonal tells of data that are late as well, where scores alert.
        late = {"late"} if "anomaly" in old[name].finds and spec.recipe == "seasonal" else set()
        assert spec.finds == old[name].finds | late, name
    assert new["network"].cron == "0 */3 * * *"  # what */180 looked like; as it is, it is once an hour
    assert {spec.cron for name, spec in new.items() if name != "network"} == {"0 6 * * *"}
