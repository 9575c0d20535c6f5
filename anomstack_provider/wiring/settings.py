"""Values of the ``[anomstack]`` section of the Airflow configuration, and where things lie on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# Options of the section that are the site's default for the batch key of the same name.
_SITE_KEYS = ("conn_id", "model_path", "email_to", "smtp_conn_id", "slack_conn_id", "slack_channel")


def airflow_home() -> str:
    """Return the Airflow home folder."""
    from airflow.configuration import AIRFLOW_HOME

    return AIRFLOW_HOME


def metrics_dir() -> str | None:
    """Return the configured metrics folder, a relative one below the Airflow home; None if the option is empty."""
    found = _get("metrics_dir")
    return str(Path(airflow_home(), found)) if found else None


def duckdb_path() -> str:
    """Return the DuckDB file that batches without a connection use; a relative path is below the Airflow home."""
    return str(Path(airflow_home(), _get("duckdb_path") or "anomstack.duckdb"))


def site_defaults() -> dict[str, Any]:
    """Return the site's defaults for batch keys: the options of ``[anomstack]`` that are set."""
    return {key: value for key in _SITE_KEYS if (value := _get(key))}


def _get(option: str) -> str | None:
    from airflow.configuration import conf

    return conf.get("anomstack", option, fallback=None) or None
