"""
Anomaly detection on business metrics in Airflow: a folder of SQL and YAML becomes one DAG per metric batch.

The public names are loaded on first use, so importing the package costs nothing and cannot fail: Airflow
imports it in every process that lists its providers, long before anybody asks for a DAG.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"  # the only place: the build, the provider info and the command line read it from here

_HOMES = {
    "AnomalyGate": "anomstack_provider.operators.gate",
    "AnomstackAlertOperator": "anomstack_provider.operators.alert",
    "AnomstackIngestOperator": "anomstack_provider.operators.ingest",
    "AnomstackLanguageModelOperator": "anomstack_provider.operators.llmalert",
    "AnomstackPublishOperator": "anomstack_provider.operators.publish",
    "AnomstackScoreOperator": "anomstack_provider.operators.score",
    "AnomstackTrainOperator": "anomstack_provider.operators.train",
    "generate_dags": "anomstack_provider.dag_factory",
}

__all__ = [
    "AnomalyGate",
    "AnomstackAlertOperator",
    "AnomstackIngestOperator",
    "AnomstackLanguageModelOperator",
    "AnomstackPublishOperator",
    "AnomstackScoreOperator",
    "AnomstackTrainOperator",
    "__version__",
    "generate_dags",
]

if TYPE_CHECKING:
    from anomstack_provider.dag_factory import generate_dags
    from anomstack_provider.operators.alert import AnomstackAlertOperator
    from anomstack_provider.operators.gate import AnomalyGate
    from anomstack_provider.operators.ingest import AnomstackIngestOperator
    from anomstack_provider.operators.llmalert import AnomstackLanguageModelOperator
    from anomstack_provider.operators.publish import AnomstackPublishOperator
    from anomstack_provider.operators.score import AnomstackScoreOperator
    from anomstack_provider.operators.train import AnomstackTrainOperator


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value  # the next use finds it without coming here
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
