"""Which metrics are drawn and with what, from rows of a real table, and the picture itself."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps import plot
from anomstack_provider.steps.alert import alert
from anomstack_provider.steps.score import score
from anomstack_provider.steps.train import train
from tests.steps.conftest import Rig, at, noise

RigOf = Callable[..., Rig]
AS_OF = "2024-03-01"


def run(r: Rig, start: str = "2024-02-25", end: str = AS_OF) -> None:
    window = RunWindow(at(start), at(end))
    for step in (train, score, alert):
        step(r.spec, window, r.store, r.models)


def spiked(r: Rig, count: int, size: float) -> None:
    """Store metrics ``m00`` on, each with a larger spike than the one before on 27 February."""
    for number in range(count):
        values = noise(60, number)
        values[57] += size * number
        r.put(f"m{number:02d}", values)


@pytest.mark.parametrize(
    ("cron", "window", "expected"),
    [
        ("*/5 * * * *", ("2024-03-01T00:00", "2024-03-01T01:00"), True),
        ("0 0 * * 1", ("2024-03-04", "2024-03-05"), True),  # a Monday, at its beginning
        ("0 0 * * 1", ("2024-03-03", "2024-03-04"), False),  # at its end: the next run's
        ("0 12 * * *", ("2024-03-01T00:00", "2024-03-01T01:00"), False),
    ],
)
def test_a_plot_is_due_when_a_tick_lies_in_the_window(
    rig: RigOf, cron: str, window: tuple[str, str], expected: bool
) -> None:
    assert plot.due(rig(plot_cron_schedule=cron).spec, RunWindow(*map(at, window))) is expected


def test_a_panel_holds_values_range_scores_and_alerts(rig: RigOf) -> None:
    r = rig(
        alert_max_n=40, metric_settings={"m01": {"title": "Orders", "unit": "EUR"}}, freshness="off", alert_recent_n=5
    )
    spiked(r, 2, 100)
    run(r)
    (first, second) = plot.read(r.spec, at(AS_OF), r.store).panels
    assert (first.name, second.name, second.about.title) == ("m00", "m01", "Orders")
    stored = r.rows("metric")
    values = stored[stored["metric_name"] == "m01"]["metric_value"].to_numpy()
    assert second.data.values.tolist() == values[-40:].tolist()
    assert second.data.times[-1] == np.datetime64("2024-02-29")
    assert second.data.fired.tolist() == [pd.Timestamp("2024-02-27").to_pydatetime()]
    assert not len(first.data.fired)
    assert second.scores[second.score_times == np.datetime64("2024-02-27")] > second.threshold
    assert second.data.expected is not None
    assert np.isfinite(second.data.expected[-1])
    assert second.grain == "1d"


def test_a_metric_shows_what_it_is_held_against(rig: RigOf) -> None:
    limits = {"tholdalert_thresholds": {"m": {"upper": 250, "lower": 20}, "n": {"upper": 300}}}
    both = rig(disable_tholdalert=False, tholdalert_exclude_metrics=["n"], **limits)
    both.put("m", noise(60))
    both.put("n", noise(60, 1))
    run(both)
    shown = plot.read(both.spec, at(AS_OF), both.store)
    assert [(list(panel.bounds), panel.threshold) for panel in shown.panels] == [([20, 250], 0.5), ([], 0.5)]
    plain = plot.draw(both.spec, at(AS_OF), plot.read(rig(**limits).spec, at(AS_OF), both.store))
    assert plot.draw(both.spec, at(AS_OF), shown) != plain, "thresholds are off, and not drawn"
    only = rig(disable_tholdalert=False, disable_alert=True, **limits)
    (first, _) = plot.read(only.spec, at(AS_OF), only.store).panels
    assert (list(first.bounds), first.threshold) == ([20, 250], None)


def test_what_came_after_the_run_is_not_drawn(rig: RigOf) -> None:
    r = rig()
    r.put("m", noise(60))
    (panel,) = plot.read(r.spec, at("2024-02-01"), r.store).panels
    assert panel.data.times[-1] == np.datetime64("2024-01-31")
    assert plot.read(r.spec, at("2024-01-01"), r.store).panels == []


def test_of_many_metrics_those_with_the_highest_recent_scores_are_drawn(rig: RigOf) -> None:
    r = rig(alert_recent_n=5)
    spiked(r, 20, 15)
    run(r)
    # Older than what is looked at: an anomaly of another week does not count.
    old = (
        r.rows("score")
        .iloc[:1]
        .assign(metric_name="m01", metric_timestamp=pd.Timestamp("2024-01-20"), metric_value=1.0)
    )
    r.store.replace(old)
    plotted = plot.read(r.spec.model_copy(update={"score_max_n": 3}), at(AS_OF), r.store)
    assert (len(plotted.panels), plotted.left_out) == (12, 8)
    scores = r.rows("score")
    recent = scores[scores["metric_timestamp"] >= pd.Timestamp("2024-02-27")]
    best = recent.groupby("metric_name")["metric_value"].max()
    drawn = [panel.name for panel in plotted.panels]
    assert [best[name] for name in drawn] == sorted(best, reverse=True)[:12]


def test_metrics_without_scores_are_drawn_too(rig: RigOf) -> None:
    r = rig()
    for number in range(14):
        r.put(f"m{number:02d}", noise(5), start="2024-02-20")
    plotted = plot.read(r.spec, at(AS_OF), r.store)
    assert [panel.name for panel in plotted.panels] == [f"m{number:02d}" for number in range(12)]
    assert plotted.left_out == 2
    assert plotted.panels[0].threshold is None
    assert plot.draw(r.spec, at(AS_OF), plotted)


@pytest.mark.parametrize(("count", "size"), [(1, (960, 522)), (3, (960, 1386)), (4, (1920, 954)), (20, (1920, 2682))])
def test_the_picture_has_a_bounded_size_and_knows_its_time(rig: RigOf, count: int, size: tuple[int, int]) -> None:
    r = rig(timezone="Europe/Berlin")
    spiked(r, count, 50)
    picture = plot.draw(r.spec, at(AS_OF), plot.read(r.spec, at(AS_OF), r.store))
    with Image.open(io.BytesIO(picture)) as image:
        assert (image.format, image.size) == ("PNG", size)
        assert len(image.convert("RGB").getcolors(2**24)) > 20
    assert len(picture) < 1_500_000
    assert plot.drawn_as_of(picture) == at(AS_OF)


def test_a_picture_of_someone_else_has_no_time(rig: RigOf) -> None:
    other = io.BytesIO()
    Image.new("RGB", (9, 9)).save(other, "png")
    for picture in (None, b"", b"not a picture", other.getvalue(), other.getvalue()[:30]):
        assert plot.drawn_as_of(picture) is None


@pytest.mark.parametrize("value", [0.0, 1e300, -1e-300, 5.0])
def test_odd_series_are_drawn(rig: RigOf, value: float) -> None:
    r = rig(grain="1d")
    r.put("one point", np.array([value]), start="2024-02-20")
    r.put("constant $x_1$ \u200f\u05d0 \U0001f389" + "n" * 100, np.full(30, value), start="2024-01-20")
    picture = plot.draw(r.spec, at(AS_OF), plot.read(r.spec, at(AS_OF), r.store))
    assert plot.drawn_as_of(picture) == at(AS_OF)


# --- plot_sql --------------------------------------------------------------------------------------------------------


def rows(**more: object) -> pd.DataFrame:
    times = pd.date_range("2024-02-01", periods=10, freq="1D", tz="America/New_York")
    columns: dict[str, object] = {"METRIC_TIMESTAMP": times[::-1], "metric_name": "m", "metric_value": range(10)}
    return pd.DataFrame({**columns, **more})


def test_rows_of_the_batchs_own_query_are_drawn(rig: RigOf) -> None:
    r = rig(alert_max_n=5)
    frame = rows(metric_score=[0.9, *[0.1] * 9], metric_alert=[1, *[0] * 9], metric_batch="b")
    plotted = plot.of_rows(r.spec, pd.concat([frame, frame.assign(metric_batch="another", metric_name="x")]))
    (panel,) = plotted.panels
    assert panel.data.values.tolist() == [4, 3, 2, 1, 0]
    assert panel.data.times[-1] == np.datetime64("2024-02-10T05:00")
    assert panel.data.fired.tolist() == [panel.data.times[-1].item()]
    assert panel.scores[-1] == 0.9
    assert plot.drawn_as_of(plot.draw(r.spec, at(AS_OF), plotted)) == at(AS_OF)


def test_times_may_be_text_and_scores_may_be_missing(rig: RigOf) -> None:
    frame = rows().assign(METRIC_TIMESTAMP=[f"2024-02-{day:02d} 00:00:00" for day in range(1, 11)])
    plotted = plot.of_rows(rig().spec, frame)
    assert plotted.panels[0].threshold is None
    assert plotted.panels[0].data.times[0] == np.datetime64("2024-02-01")
    assert plot.draw(rig().spec, at(AS_OF), plotted)
    assert plot.of_rows(rig().spec, rows().iloc[:0]).panels == []


def test_a_query_without_a_needed_column_is_refused(rig: RigOf) -> None:
    with pytest.raises(plot.PointsRefused, match="no column metric_value; it has metric_timestamp, metric_name"):
        plot.of_rows(rig().spec, rows().drop(columns="metric_value"))


def test_it_costs_three_queries(rig: RigOf, monkeypatch: pytest.MonkeyPatch) -> None:
    r = rig()
    spiked(r, 14, 10)
    asked: list[str] = []
    for method in ("read", "metric_names", "newest_timestamp"):
        real = getattr(r.store, method)

        def counted(
            *args: object, _real: Callable[..., object] = real, _name: str = method, **kwargs: object
        ) -> object:
            asked.append(_name)
            return _real(*args, **kwargs)

        monkeypatch.setattr(r.store, method, counted)
    plot.read(r.spec, at(AS_OF) + timedelta(days=1), r.store)
    assert sorted(asked) == ["metric_names", "read", "read"]


def test_scores_are_read_shard_by_shard_and_the_same_are_drawn(rig: RigOf, monkeypatch: pytest.MonkeyPatch) -> None:
    r = rig(alert_recent_n=5)
    spiked(r, 20, 15)
    run(r)
    whole = plot.read(r.spec, at(AS_OF), r.store)
    asked: list[set[str]] = []
    usual = r.store.read

    def read(metric_types: list[str], **limits: object) -> pd.DataFrame:
        found = usual(metric_types, **limits)
        if metric_types == ["score"]:
            asked.append(set(found["metric_name"]))
        return found

    monkeypatch.setattr(r.store, "read", read)
    parts = plot.read(r.spec.model_copy(update={"shards": 4}), at(AS_OF), r.store)
    assert [panel.name for panel in parts.panels] == [panel.name for panel in whole.panels]
    assert plot.draw(r.spec, at(AS_OF), parts) == plot.draw(r.spec, at(AS_OF), whole)
    assert sum(map(len, asked)) == len(set().union(*asked)) == 20
    assert max(map(len, asked)) < 12
