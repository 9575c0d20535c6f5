"""How engines with DuckDB's types of times spell ``metric_timestamp`` as a UTC time without a zone."""

from __future__ import annotations

PLAIN = "metric_timestamp"
CAST = "CAST(metric_timestamp AS TIMESTAMP)"
TEXT = "CAST(CAST(metric_timestamp AS TIMESTAMPTZ) AS TIMESTAMP)"
"""A plain cast of text would ignore a written offset."""
