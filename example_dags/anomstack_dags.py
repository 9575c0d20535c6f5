"""The one file to drop into the dags folder of an Airflow: one DAG per metric batch."""

from airflow.sdk import dag  # noqa: F401  Airflow reads files that name airflow and dag

from anomstack_provider import generate_dags

globals().update(generate_dags())
