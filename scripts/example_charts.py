"""
Draw the pictures of metrics/examples/README.md: the alert that each example finds, into docs/images/examples.

    python -m scripts.example_charts [NAME ...]

Nothing leaves the machine. The examples that ask a service are answered by the server of the tests, in the service's
shape with values made up; the flights come from the demo's data (the extra ``demo``).
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
METRICS = REPOSITORY / "metrics"
TARGET = REPOSITORY / "docs" / "images" / "examples"


@dataclass(frozen=True)
class Picture:
    """The metric to show, and the day on which something happens to it; ``days`` of history are loaded before."""

    metric: str
    day: str
    days: int = 190


PICTURES = {
    "flights": Picture("departures_EWR", "2013-02-08", 39),
    "sales": Picture("revenue", "2026-04-14"),
    "users": Picture("active_users", "2026-04-21", 90),
    "web_traffic": Picture("server_errors", "2026-04-16"),
    "dimensions": Picture("orders.FR.app", "2026-04-18"),
    "warehouse": Picture("hours_since_load_orders", "2026-04-08"),
    "several_models": Picture("payment_ms", "2026-04-22"),
    "preprocess": Picture("energy_kwh", "2026-04-10", 130),
    "python_ingest": Picture("tickets_login", "2026-04-24"),
    "thresholds": Picture("temperature", "2026-04-20", 40),
    "holidays": Picture("visitors", "2026-04-28", 115),
    "s3_models": Picture("parcels", "2026-04-30", 211),
    "airflow_runs": Picture("failed", "2026-05-12", 120),
    "github": Picture("commits.yzhao062/pyod", "2026-05-12", 120),
    "hacker_news": Picture("show_hn", "2026-05-12", 120),
    "weather": Picture("rain.Berlin", "2026-05-12"),
    "currency": Picture("EUR/CHF", "2026-05-12"),
    "crypto": Picture("BTC-USD.span_pct", "2026-05-12"),
    "earthquakes": Picture("earthquakes", "2026-05-12"),
    "stocks": Picture("IBM.volume", "2026-05-12", 120),
    "prometheus": Picture("requests_per_second", "2026-05-12", 14),
    "netdata": Picture("system.cpu.user", "2026-05-12", 14),
    "posthog": Picture("purchase.events", "2026-05-12", 120),
}


def draw(name: str, picture: Picture) -> bytes:
    """Return the chart of the first event of the metric on its day, as an alert would bring it."""
    from anomstack_provider.runtime.window import RunWindow
    from anomstack_provider.steps.charts import Briefings
    from anomstack_provider.steps.preview import fetch_history, preview
    from anomstack_provider.wiring.batches import load_spec
    from anomstack_provider.wiring.fetch import fetch_outside_airflow

    spec = load_spec(name, str(METRICS))
    day = datetime.fromisoformat(picture.day).replace(tzinfo=UTC)
    history = day - timedelta(days=picture.days)
    end = day + timedelta(days=2) + spec.completeness_delay
    alone = spec.model_copy(update={"history_start": None})
    rows, _ = fetch_history(
        alone, RunWindow(history, end), lambda part: fetch_outside_airflow(spec, part, str(METRICS))
    )
    found = preview(spec, RunWindow(day - timedelta(days=1), end), rows)
    alerts = [a for a in found.opened if a.metric_name == picture.metric and a.bucket.date() == day.date()]
    if not alerts:
        sys.exit(f"{name}: nothing was found in {picture.metric} on {picture.day}")
    return Briefings(spec, found.rows).draw(alerts[0])


def smaller(png: bytes) -> bytes:
    """Return the picture with a palette of 64 colours, which is all that a chart has."""
    from PIL import Image

    target = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(64).save(target, "PNG", optimize=True)
    return target.getvalue()


def main(names: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AIRFLOW__ANOMSTACK__METRICS_DIR"] = str(METRICS)
        os.environ["AIRFLOW__ANOMSTACK__DUCKDB_PATH"] = f"{folder}/anomstack.duckdb"
        from tests.examples.services import running

        with running() as services:
            os.environ.update(services.environment())
            if "flights" in (names or PICTURES):
                from anomstack_provider import demo

                demo.load()
            TARGET.mkdir(parents=True, exist_ok=True)
            chosen: dict[str, Any] = {name: PICTURES[name] for name in names} or PICTURES
            for name, picture in chosen.items():
                png = smaller(draw(name, picture))
                (TARGET / f"{name}.png").write_bytes(png)
                print(f"{name}: {len(png) / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
