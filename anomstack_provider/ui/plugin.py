"""
The Airflow plugin of this provider, loaded by entry point in every Airflow process.

So far it only gives the provider its name among the plugins: the pages of the UI are not written yet. What is
added here must import nothing heavy and read its data inside a request, never when the plugin is loaded.
"""

from __future__ import annotations

# Not from airflow.sdk: Airflow 3.1 has the class only here, and later versions take it from either place.
from airflow.plugins_manager import AirflowPlugin


class AnomstackPlugin(AirflowPlugin):
    """Registers the provider as the plugin ``anomstack``; it adds no page, no link and no listener yet."""

    name = "anomstack"
