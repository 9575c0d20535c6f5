"""
A folder in Anomstack's form runs end to end, unchanged and offline: rows, alerts and messages.

What is expected is written down or worked out here with a few lines of numpy, pandas and PyOD, never by the product.
The series is the same everywhere: day n, counted from 1 January 2024, has 100 + (31 n n modulo 97) modulo 23, and day
60, the first of March, has a spike. A run is named by the end of its interval: that of 2 March at six judges the first.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyod.models.hbos import HBOS
from pyod.models.knn import KNN
from pyod.models.pca import PCA

from tests.alert_fixtures import MailServer
from tests.contract.conftest import Site

FIRST = datetime(2024, 1, 1)
SPIKE = datetime(2024, 3, 1)
GREEN = {"ingest": "success", "train": "success", "score": "success", "alert": "success", "watch": "skipped"}


def is_green(states: dict[str, str]) -> bool:
    """Whether each step did its work, those beside them did not fail, and so there was nothing to watch out for."""
    return GREEN.items() <= states.items() and "failed" not in states.values()


def series(spike: float = 1000.0) -> list[float]:
    return [spike if n == 60 else 100.0 + n * n * 31 % 97 % 23 for n in range(70)]


def features(values: list[float]) -> pd.DataFrame:
    """Return the features as Anomstack documents them: difference, rolling mean of 3, the value and 5 lags."""
    smooth = pd.Series(values).diff(1).rolling(3).mean()
    return pd.concat([smooth.shift(lag) for lag in range(6)], axis=1).dropna()


def scores(values: list[float], days: list[int], models: list[Any], combine: Any) -> dict[datetime, float]:
    """Return the score of each day: detectors fitted to all days before, linear between their extremes in training."""
    found = {}
    for n in days:
        training, own = features(values[:n]).to_numpy(), features(values[: n + 1]).to_numpy()[-1:]
        parts = []
        for make in models:
            fitted = make().fit(training)
            low, high = fitted.decision_scores_.min(), fitted.decision_scores_.max()
            parts.append(np.clip((fitted.decision_function(own)[0] - low) / (high - low), 0, 1))
        found[FIRST + timedelta(days=n)] = round(float(combine(parts)), 4)
    return found


def standard() -> list[Any]:
    return [lambda: PCA(contamination=0.01), lambda: KNN(contamination=0.01)]


def metrics(site: Site, batch: str, table: str = "contract_metrics") -> list[tuple[Any, ...]]:
    return site.rows(
        f"SELECT metric_timestamp, metric_name, metric_value FROM {table} "
        f"WHERE metric_batch = '{batch}' AND metric_type = 'metric' ORDER BY metric_name, metric_timestamp"
    )


def stored(site: Site, batch: str, kind: str) -> dict[datetime, float]:
    return dict(
        site.rows(
            "SELECT metric_timestamp, metric_value FROM contract_metrics "
            f"WHERE metric_batch = '{batch}' AND metric_type = '{kind}' ORDER BY metric_timestamp"
        )
    )


def alerts(site: Site, batch: str, kind: str) -> list[tuple[Any, ...]]:
    return site.rows(
        "SELECT metric_name, metric_timestamp, metric_value FROM contract_metrics "
        f"WHERE metric_batch = '{batch}' AND metric_type = '{kind}' ORDER BY metric_timestamp, metric_name"
    )


def subjects(server: MailServer) -> list[str]:
    return sorted(str(mail["Subject"]) for _, mail in server.received)


def expected_rows(*names: str, spike: float = 1000.0) -> list[tuple[Any, ...]]:
    return [(FIRST + timedelta(days=n), name, value) for name in names for n, value in enumerate(series(spike))]


def test_every_enabled_batch_is_a_dag_and_a_disabled_one_is_none(site: Site) -> None:
    of_the_folder = {name for name in site.dags if name.endswith(("_of_config", "_of_batches"))}
    assert set(site.dags) - of_the_folder == {
        f"anomstack_{name}"
        for name in [
            *("inline_sql", "included_sql", "jinja", "python_inline", "python_included", "freq", "thresholds"),
            *("levels", "models", "own-table", "names", "network", "key", "warehouse"),
        ]
    }


def test_a_spike_is_scored_as_documented_and_told_once(site: Site, mail_server: MailServer) -> None:
    expected = scores(series(), list(range(54, 65)), standard(), np.mean)
    # At or above 0.8, of the mean of a score and the three before it: the first such day, computed by hand.
    days = sorted(expected)
    smooth = {day: np.mean([expected[d] for d in days[i - 3 : i + 1]]) for i, day in enumerate(days) if i >= 3}
    fired = next(day for day in days[3:] if smooth[day] >= 0.8)

    for day in ["2024-03-02T06:00", "2024-03-04T06:00", "2024-03-06T06:00"]:
        assert is_green(site.run("included_sql", day))
    assert metrics(site, "included_sql") == expected_rows("orders")
    found = stored(site, "included_sql", "score")
    assert max(found) == datetime(2024, 3, 5), "that of the sixth is still open"
    assert {day: found[day] for day in days if day < datetime(2024, 3, 6)} == pytest.approx(
        {day: expected[day] for day in days if day < datetime(2024, 3, 6)}, abs=1e-4
    )
    assert [(name, at) for name, at, value in alerts(site, "included_sql", "alert") if value] == [("orders", fired)]
    assert len(subjects(mail_server)) == 1


@pytest.mark.parametrize("batch", ["inline_sql", "python_inline"])
def test_written_in_the_file_it_is_the_same(site: Site, batch: str, mail_server: MailServer) -> None:
    expected = scores(series(), list(range(55, 65)), standard(), np.mean)
    assert is_green(site.run(batch, "2024-03-06T06:00"))
    assert metrics(site, batch) == expected_rows("orders")
    found = stored(site, batch, "score")
    assert {day: found[day] for day in expected} == pytest.approx(expected, abs=1e-4)


def test_a_loop_makes_a_metric_of_each_name(site: Site, mail_server: MailServer) -> None:
    assert is_green(site.run("jinja", "2024-03-04T06:00"))
    assert metrics(site, "jinja") == [
        (FIRST + timedelta(days=n), name, 100.0 + offset + n * n * 31 % 97 % 23)
        for offset, name in enumerate(["north", "south", "west"], start=1)
        for n in range(70)
    ]


def test_an_included_function_has_its_module_and_a_value_that_is_missing_is_left_out(site: Site, mail_server) -> None:
    assert is_green(site.run("python_included", "2024-03-04T06:00"))
    days = [(FIRST + timedelta(days=n), 100.0 + n * n * 31 % 97 % 23) for n in range(70)]
    assert metrics(site, "python_included") == [(day, "calls", value) for day, value in days] + [
        (day, "visits", value) for n, (day, value) in enumerate(days) if n != 10
    ]


def test_freq_judges_the_sums_of_days(site: Site, mail_server: MailServer) -> None:
    quarters = [1000.0 if n == 240 else 100.0 + n * n * 31 % 97 % 23 for n in range(280)]
    days = [sum(quarters[4 * n : 4 * n + 4]) for n in range(70)]
    expected = scores(days, list(range(55, 65)), standard(), np.mean)
    assert is_green(site.run("freq", "2024-03-06T06:00"))
    found = stored(site, "freq", "score")
    assert {day: found[day] for day in expected} == pytest.approx(expected, abs=1e-4)


def test_several_models_are_combined_as_asked(site: Site, mail_server: MailServer) -> None:
    models = [lambda: KNN(n_neighbors=3), lambda: HBOS(), lambda: KNN(n_neighbors=7)]
    expected = scores(series(), list(range(55, 65)), models, max)
    assert is_green(site.run("models", "2024-03-06T06:00"))
    found = stored(site, "models", "score")
    assert {day: found[day] for day in expected} == pytest.approx(expected, abs=1e-4)
    assert alerts(site, "models", "alert") == [], "its only metric is in alert_exclude_metrics, a name without a list"


def test_thresholds_are_strict_and_told_once(site: Site, mail_server: MailServer) -> None:
    for day in ["2024-03-02T06:00", "2024-03-06T06:00"]:
        assert is_green(site.run("thresholds", day))
    # Refunds have a lower bound of 101, and the series has 101 itself on 29 February: at a bound is within. Without
    # scores nothing is known of how far out a value is, so the severity is medium.
    assert alerts(site, "thresholds", "tholdalert") == [
        ("orders", SPIKE, 1.0),
        ("refunds", SPIKE, 1.0),
        ("orders", datetime(2024, 3, 5), 0.0),
        ("refunds", datetime(2024, 3, 5), 0.0),
    ]
    assert alerts(site, "thresholds", "alert") == [], "disable_alerts is the other spelling of disable_alert"
    assert subjects(mail_server) == [
        "[CLOSED] thresholds · orders back below 500 (threshold) after 1 day, at worst 1,000 (Fri 1 Mar)",
        "[CLOSED] thresholds · refunds back below 900 (threshold) after 1 day, at worst 1,000 (Fri 1 Mar)",
        "[MEDIUM] thresholds · orders above 500 (threshold): 1,000 (Fri 1 Mar)",
        "[MEDIUM] thresholds · refunds above 900 (threshold): 1,000 (Fri 1 Mar)",
    ]


def test_a_value_a_thousand_times_the_usual_one_is_a_change(site: Site, mail_server: MailServer) -> None:
    before = np.array(series()[16:60])
    deviation = np.median(np.abs(before - np.median(before)))
    assert 0.6745 * abs(100_000 - np.median(before)) / deviation > 3.5
    assert is_green(site.run("levels", "2024-03-02T06:00"))
    assert alerts(site, "levels", "change") == [("orders", SPIKE, 1.0)], "visits are excluded by a name in quotes"
    assert len(subjects(mail_server)) == 1


def test_names_of_any_kind_are_stored_and_told_with_their_tags(site: Site, mail_server: MailServer) -> None:
    assert is_green(site.run("names", "2024-03-02T06:00"))
    names = sorted(["web/orders", "o'brien.sales", "two words ☕"])
    assert metrics(site, "names") == expected_rows(*names)
    assert alerts(site, "names", "tholdalert") == [(name, SPIKE, 1.0) for name in names]
    assert subjects(mail_server) == [
        f"[MEDIUM] names · {name} above 500 (threshold): 1,000 (Fri 1 Mar)" for name in names
    ]
    texts = {
        str(mail["Subject"]).split(" · ")[1].split(" above")[0]: mail.get_body(("plain",)).get_content()
        for _, mail in mail_server.received
    }
    assert "team: web" in texts["web/orders"]
    assert "owner: O'Brien" in texts["o'brien.sales"]
    assert "priority: 1" in texts["o'brien.sales"]


def test_a_table_of_its_own_and_steps_switched_off(site: Site) -> None:
    assert site.run("own-table", "2024-03-04T06:00")["ingest"] == "success"
    assert metrics(site, "own-table", "shop.metrics") == [(datetime(2024, 3, 4), "orders", 42.1235)]
    assert site.rows("SELECT DISTINCT metric_type FROM shop.metrics") == [("metric",)]


@pytest.mark.parametrize(
    ("batch", "cause"),
    [
        ("network", "Connection refused"),
        ("key", "CONTRACT_EXAMPLE_API_KEY"),
        ("warehouse", "shop_warehouse"),
    ],
)
def test_what_cannot_be_reached_fails_with_its_cause(site: Site, batch: str, cause: str, capfd) -> None:
    states = site.run(batch, "2024-03-04T06:00")
    assert (states["ingest"], states["watch"]) == ("failed", "failed")
    out, err = capfd.readouterr()
    assert cause in out + err
