"""From a class name in ``model_configs`` to a PyOD detector: one of this package's series detectors, or of PyOD."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

# Detectors that score a row by itself: a bucket's score is the same to the bit alone or among others (a test holds each
# name to that). All others are asked row by row, since some rank the rows of one call against each other.
ROW_INDEPENDENT = frozenset({"PCA", "KNN", "HBOS", "IForest"})
# The classes of ``series_detectors``: they take rows of time and value instead of lagged values. (A test holds the
# names to the classes, which are imported when a config names one.)
SERIES = frozenset({"FlatLine", "SeasonalResidual", "SlotNeighbours", "SlowDrift", "WindowNeighbours"})
# Same data, same model: whatever draws random numbers gets this seed unless the config names another.
SEED = 0


class UnknownDetector(ValueError):
    """``model_configs`` names a class that neither this package nor PyOD has; the message lists close names."""


@cache
def detector_class(name: str) -> type:
    """
    Return the detector class of that name, such as ``SeasonalResidual``, ``PCA`` or ``pyod.models.knn.KNN``.

    :raises UnknownDetector: no such class below ``pyod.models``, or it cannot be imported here.
    """
    from pyod.models.base import BaseDetector

    if name in SERIES:
        from anomstack_provider.detection import series_detectors

        return vars(series_detectors)[name]  # type: ignore[no-any-return]
    module, _, cls = name.rpartition(".")
    module = module or f"pyod.models.{cls.lower()}"
    if not module.startswith("pyod.models."):
        raise UnknownDetector(f"model {name!r}: only classes of pyod.models are used")
    try:
        found = getattr(importlib.import_module(module), cls, None)
    except ImportError as error:
        raise UnknownDetector(f"model {name!r} cannot be imported: {error}{_suggestion(cls)}") from error
    if not (inspect.isclass(found) and issubclass(found, BaseDetector)):
        raise UnknownDetector(f"model {name!r} is not a PyOD detector{_suggestion(cls)}")
    return found


def build(name: str, params: Mapping[str, Any]) -> Any:
    """Return a new, unfitted detector; ``UnknownDetector``, or ``ValueError`` for a parameter that it does not take."""
    cls = detector_class(name)
    # PyOD fills its BaseDetector with **kwargs in places; the class's own signature is what it documents.
    known = inspect.signature(cls).parameters
    if unknown := sorted(set(params) - set(known)):
        raise ValueError(f"model {name!r} takes no parameter {unknown[0]!r}; it takes {sorted(known)}")
    seeded = {"random_state": SEED} if "random_state" in known else {}
    return cls(**{**seeded, **params})


def forget_training(name: str, detector: Any) -> None:
    """
    Empty what a fitted detector keeps of the training points, where no score depends on it.

    Of PCA with KNN these scores and labels would be half of what is stored. PyOD looks whether they are there.
    """
    if name in ROW_INDEPENDENT | SERIES:
        detector.decision_scores_ = detector.labels_ = np.empty(0)


def _suggestion(name: str) -> str:
    import difflib
    import pkgutil

    import pyod.models

    known = {m.name: m.name.upper() for m in pkgutil.iter_modules(pyod.models.__path__)}
    known |= {series.lower(): series for series in SERIES}
    close = difflib.get_close_matches(name.lower(), known, 3)
    return f"; close: {', '.join(known[c] for c in close)}" if close else ""
