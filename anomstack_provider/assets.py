"""
The assets of a batch, for the ``schedule`` of any DAG: ``schedule=[anomaly_opened("orders")]``.

Names and URIs follow from the batch's name alone, so a DAG may name a batch that another file makes. What the events of
an asset carry is in docs/assets.md; when they are emitted is the operators' matter.
"""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote

from airflow.sdk import Asset, AssetAlias

_SCHEME = "anomstack"
# Airflow refuses names and URIs of more than 1,500 characters.
_LONGEST = 1_200


def metrics_updated(metric_batch: str) -> Asset:
    """Return the asset that is updated whenever the ingest task of a batch has written rows."""
    return _asset(metric_batch, "metrics/updated")


def anomaly_opened(metric_batch: str) -> Asset:
    """Return the asset that is updated once for all events that a run opens on the batch's metrics."""
    return _asset(metric_batch, "anomaly/opened")


def anomaly_closed(metric_batch: str) -> Asset:
    """Return the asset that is updated once for all events on the batch's metrics that close or expire in a run."""
    return _asset(metric_batch, "anomaly/closed")


def metrics_alias(metric_batch: str) -> AssetAlias:
    """Return the outlet of the ingest task: through an alias a success without rows updates no asset."""
    return AssetAlias(_uri(metric_batch, "metrics"))


def anomaly_alias(metric_batch: str) -> AssetAlias:
    """Return the outlet of the alert task, which may update its assets several times or not at all."""
    return AssetAlias(_uri(metric_batch, "anomaly"))


def _asset(metric_batch: str, what: str) -> Asset:
    uri = _uri(metric_batch, what)
    return Asset(name=uri, uri=uri)


def _uri(metric_batch: str, what: str) -> str:
    """Return the same text for the same batch, of plain ASCII whatever its name is."""
    name = quote(metric_batch, safe="")
    if len(name) > _LONGEST:
        digest = hashlib.sha256(metric_batch.encode()).hexdigest()[:16]
        name = f"{re.sub('%.?$', '', name[:_LONGEST])}_{digest}"
    return f"{_SCHEME}://{name}/{what}"
