"""
Warehouses that are read from only.

Their SQL is known to sqlglot, so that a query in DuckDB's dialect is translated; whether a metrics table could be kept
there soundly was never tried on the engines themselves.
"""

from __future__ import annotations

from anomstack_provider.store.session import Dialect


class Redshift(Dialect):
    """Amazon Redshift."""

    engine = "redshift"
    keeps_metrics = False


class Databricks(Dialect):
    """Databricks SQL."""

    engine = "databricks"
    keeps_metrics = False


class Trino(Dialect):
    """Trino."""

    engine = "trino"
    keeps_metrics = False
