"""Tickets of a help desk, counted in Python: what a query cannot do, or what no database holds."""

import hashlib
from datetime import timedelta

import pandas as pd

USUAL = {"billing": 40, "delivery": 65, "login": 25}


def ingest(data_interval_start, data_interval_end):
    """Return a row per topic and day that begins in the run's window."""
    rows = []
    day = data_interval_start.replace(hour=0, minute=0, second=0, microsecond=0)
    while day < data_interval_end:
        if day >= data_interval_start:
            rows += [(day, f"tickets_{topic}", tickets(day, topic)) for topic in USUAL]
        day += timedelta(days=1)
    return pd.DataFrame(rows, columns=["metric_timestamp", "metric_name", "metric_value"])


def tickets(day, topic):
    """Make a number up that depends on its day and topic alone; read a file or ask a service here."""
    digest = hashlib.sha256(f"{day:%Y-%m-%d} {topic}".encode()).digest()
    noise = sum(digest[:12]) / (12 * 255) - 0.5
    weekend = 0.5 if day.isoweekday() >= 6 else 1.0
    # On one day in 97 nobody can log in.
    trouble = 3.0 if topic == "login" and int(day.timestamp()) // 86_400 % 97 == 3 else 1.0
    return round(USUAL[topic] * weekend * trouble * (1 + noise))
