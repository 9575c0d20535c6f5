"""
What this provider tells Airflow about itself: a literal dictionary, read by every Airflow process.

Nothing is looked up here but the version, so listing providers stays as fast as it is without this one.
"""

from __future__ import annotations

from typing import Any

from anomstack_provider import __version__


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description in the form of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "anomstack-provider",
        "name": "Anomstack",
        "description": "Metric anomaly detection: a folder of SQL and YAML becomes one DAG per metric batch.",
        "versions": [__version__],
        "integrations": [{"integration-name": "Anomstack", "tags": ["software"]}],
        "operators": [
            {
                "integration-name": "Anomstack",
                "python-modules": [
                    "anomstack_provider.operators.ingest",
                    "anomstack_provider.operators.train",
                    "anomstack_provider.operators.score",
                    "anomstack_provider.operators.llmalert",
                    "anomstack_provider.operators.alert",
                    "anomstack_provider.operators.publish",
                    "anomstack_provider.operators.gate",
                ],
            }
        ],
        # Airflow 3.1 does not know this key and passes over it; the console script is the same command.
        "cli": ["anomstack_provider.airflow_cli.get_airflow_cli_commands"],
        "config": {
            "anomstack": {
                "description": (
                    "Defaults for every metric batch of this deployment. A key written in a batch's YAML,\n"
                    "or in the ``defaults.yaml`` of its folder, wins over the option of the same name.\n"
                ),
                "options": {
                    "metrics_dir": {
                        "description": (
                            "Folder of metric batches, scanned with all its subfolders. A relative path is\n"
                            "taken from AIRFLOW_HOME. Empty: the folder that a DAG file names in\n"
                            "``generate_dags``, or the folder ``metrics`` beside that DAG file.\n"
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "/opt/airflow/metrics",
                        "default": "",
                    },
                    "conn_id": {
                        "description": (
                            "Airflow connection of the database that holds the metrics table. Empty: the\n"
                            "DuckDB file of ``duckdb_path``, without any connection.\n"
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "warehouse",
                        "default": "",
                    },
                    "duckdb_path": {
                        "description": (
                            "DuckDB file of the metrics table while ``conn_id`` is empty. A relative path\n"
                            "is taken from AIRFLOW_HOME. Workers on several machines need a ``conn_id``.\n"
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "/opt/airflow/data/anomstack.duckdb",
                        "default": "anomstack.duckdb",
                    },
                    "model_path": {
                        "description": (
                            "Where trained models are kept: a folder, or the URL of an object store that\n"
                            "Airflow can reach, with the connection before an @. A relative path is taken\n"
                            "from AIRFLOW_HOME.\n"
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "s3://aws_default@my-bucket/anomstack/models",
                        "default": "local://./models",
                    },
                    "email_to": {
                        "description": "Addresses that get alerts by email, separated by commas.\n",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "data-team@example.com,oncall@example.com",
                        "default": "",
                    },
                    "smtp_conn_id": {
                        "description": "Airflow connection (type ``smtp``) that sends the emails.\n",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "smtp_alerts",
                        "default": "smtp_default",
                    },
                    "slack_channel": {
                        "description": "Slack channel that gets alerts, by name or by id.\n",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "#metric-alerts",
                        "default": "",
                    },
                    "slack_conn_id": {
                        "description": "Airflow connection (type ``slack``) whose token posts to Slack.\n",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "slack_alerts",
                        "default": "slack_api_default",
                    },
                },
            }
        },
    }
