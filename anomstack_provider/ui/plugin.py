"""
The Airflow plugin of this provider, loaded by entry point in every Airflow process.

It names the dashboard's pages and the REST API under ``/anomstack`` and imports them with the first request, in the API
server: loading the plugin imports nothing heavy, and whatever is wrong with them can only fail a request to them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

# Not from airflow.sdk: Airflow 3.1 has the class only here, and later versions take it from either place.
from airflow.plugins_manager import AirflowPlugin

Message = MutableMapping[str, Any]


async def rest_api(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Pass a request on to the FastAPI application, an ASGI application as this function is."""
    from anomstack_provider.ui.api import app

    await app(scope, receive, send)


class AnomstackPlugin(AirflowPlugin):
    """
    Registers the provider as the plugin ``anomstack``: its REST API, and its pages in Airflow's navigation and DAGs.

    Airflow shows a page in a frame. Its address is relative to the UI's own, which may lie below a path of the site.
    """

    name = "anomstack"
    fastapi_apps: list[Any] = [{"app": rest_api, "url_prefix": "/anomstack", "name": "Anomstack"}]  # noqa: RUF012
    external_views: list[Any] = [  # noqa: RUF012
        {
            "name": "Anomalies",
            "href": "anomstack/ui/",
            "destination": "nav",
            "category": "browse",
            "url_route": "anomstack",
        },
        {
            "name": "Anomalies",
            "href": "anomstack/ui/batch?dag_id={DAG_ID}",
            "destination": "dag",
            "url_route": "anomstack-batch",
        },
    ]
