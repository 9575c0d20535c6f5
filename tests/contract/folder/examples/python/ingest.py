"""Times as text, a value that is missing, a column too many; run by hand it would fail."""

from datetime import date, timedelta

import pandas as pd

NAMES = ("calls", "visits")


def rows(name):
    for n in range(70):
        value = None if name == "visits" and n == 10 else 100 + n * n * 31 % 97 % 23
        yield {
            "metric_timestamp": str(date(2024, 1, 1) + timedelta(days=n)),
            "metric_name": name,
            "metric_value": value,
        }


def ingest(names=NAMES) -> pd.DataFrame:
    from dagster import get_dagster_logger

    found = pd.DataFrame([row for name in names for row in rows(name)])
    get_dagster_logger().info(f"{len(found)} rows")
    return found.assign(source="made up")


if __name__ == "__main__":
    raise SystemExit("run by hand")
