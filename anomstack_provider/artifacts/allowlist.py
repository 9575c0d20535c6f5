"""The classes that a stored bundle may contain. The same rule is asked when saving and when loading.

A name that is not listed is never imported. Listed are

* PyOD detectors and the scikit-learn estimators they are built of: their state is their ``__dict__``;
* the compiled structures inside those (trees, distance metrics), one by one: they have their own state;
* this package's own frozen dataclasses and detectors, in ``anomstack_provider.detection``.

Whole packages are not: NumPy, SciPy, scikit-learn and PyOD have functions that run text, load pickles from a
path or fetch a model by name. Left out on purpose: detectors on torch, xgboost or combo (state of other
packages), on text, audio or graphs (they fetch models by name), ``LMDD`` (keeps a function), scikit-learn's
searches, pipelines and whatever takes a function or ``memory=`` (reads pickles from a path).
"""

from __future__ import annotations

import importlib
import re
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any

OWN_PACKAGE = "anomstack_provider.detection"

_PYOD = """
abod cblof cd cof copod ecod gmm hbos hdbscan iforest inne kde knn kpca loci loda lof lscp mad mcd ocsvm pca
qmcd rgraph rod sampling sod sos ts_kshape ts_matrix_profile ts_od ts_sand ts_spectral_residual
"""
_SKLEARN = """
cluster._hdbscan.hdbscan cluster._kmeans covariance._elliptic_envelope covariance._empirical_covariance
covariance._robust_covariance covariance._shrunk_covariance decomposition._kernel_pca decomposition._pca
ensemble._forest ensemble._iforest linear_model._base linear_model._ridge mixture._bayesian_mixture
mixture._gaussian_mixture neighbors._kde neighbors._lof neighbors._unsupervised svm._classes tree._classes
"""
_SCALERS = """
KernelCenterer MaxAbsScaler MinMaxScaler PowerTransformer QuantileTransformer RobustScaler StandardScaler
"""
# All of them but the one that calls a Python function.
_METRICS = """
BrayCurtis Canberra Chebyshev Dice Euclidean Hamming Haversine Jaccard Kulsinski Mahalanobis Manhattan
Matching Minkowski RogersTanimoto RussellRao SEuclidean SokalMichener SokalSneath
"""

# Every class that such a module defines itself and that is a detector or estimator.
ESTIMATOR_MODULES = frozenset(
    [f"pyod.models.{name}" for name in _PYOD.split()] + [f"sklearn.{name}" for name in _SKLEARN.split()]
)
# These classes only.
ESTIMATORS = frozenset(f"sklearn.preprocessing._data:{name}" for name in _SCALERS.split())
NATIVE = frozenset(
    ["sklearn.neighbors._kd_tree:KDTree", "sklearn.neighbors._ball_tree:BallTree", "sklearn.tree._tree:Tree"]
    + [f"sklearn.metrics._dist_metrics:{name}Distance{bits}" for name in _METRICS.split() for bits in (32, 64)]
)

_CLASS = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OWN_MODULE = re.compile(re.escape(OWN_PACKAGE) + r"(\.[a-z_][a-z0-9_]*)*")


class NotAllowed(TypeError):
    """The name or object is not on the allow-list."""


class Kind(Enum):
    """How an object of a class is taken apart and rebuilt."""

    ESTIMATOR = "its __dict__"
    NATIVE = "__getstate__ and __setstate__"
    RECORD = "the fields of a frozen dataclass"


def name_of(cls: type) -> str:
    """Return ``module:Class``, the form in which bundles name a class."""
    return f"{cls.__module__}:{cls.__qualname__}"


@cache
def field_names(cls: type) -> frozenset[str]:
    """Return the fields of a dataclass; none for any other class."""
    return frozenset(field.name for field in fields(cls)) if is_dataclass(cls) else frozenset()


def kind_of(cls: type) -> Kind:
    """Return how to save an object of ``cls``; raises :class:`NotAllowed` where loading would refuse it."""
    found, kind = resolve(name_of(cls))
    if found is not cls:
        raise NotAllowed(f"{name_of(cls)} is not the class of that name")
    return kind


@cache
def resolve(name: str) -> tuple[type, Kind]:
    """Return the class named ``module:Class``; raises :class:`NotAllowed`, imports only what is listed."""
    module, _, attribute = name.partition(":")
    if not _CLASS.fullmatch(attribute) or not _is_listed(module, attribute):
        raise NotAllowed(f"{name!r} is not on the allow-list")
    try:
        cls = vars(importlib.import_module(module)).get(attribute)
    except ImportError as error:
        raise NotAllowed(f"{name!r} cannot be imported here: {error}") from error
    # What a module merely imported (os, partial, another class) is not its own.
    if not isinstance(cls, type) or name_of(cls) != name:
        raise NotAllowed(f"{name!r} is not a class of that module")
    return cls, _kind(cls, name)


def _is_listed(module: str, attribute: str) -> bool:
    return (
        module in ESTIMATOR_MODULES
        or f"{module}:{attribute}" in ESTIMATORS | NATIVE
        or _OWN_MODULE.fullmatch(module) is not None
    )


def _kind(cls: type, name: str) -> Kind:
    if cls.__module__.startswith(OWN_PACKAGE) and is_dataclass(cls):
        parameters: Any = vars(cls)["__dataclass_params__"]
        if not parameters.frozen:
            raise NotAllowed(f"{name!r} is a dataclass that is not frozen")
        return Kind.RECORD
    if name in NATIVE:
        return Kind.NATIVE
    from pyod.models.base import BaseDetector
    from sklearn.base import BaseEstimator

    if not issubclass(cls, BaseDetector | BaseEstimator):
        raise NotAllowed(f"{name!r} is neither a PyOD detector nor a scikit-learn estimator")
    if not _has_plain_state(cls, BaseEstimator):
        raise NotAllowed(f"{name!r} has a state of its own making, which a bundle cannot keep")
    return Kind.ESTIMATOR


def _has_plain_state(cls: Any, base_estimator: Any) -> bool:
    """Tell whether ``__dict__`` is all there is; scikit-learn's own hook only adds its version to it."""
    return (
        cls.__reduce_ex__ is object.__reduce_ex__
        and cls.__reduce__ is object.__reduce__
        and cls.__getstate__ in (object.__getstate__, base_estimator.__getstate__)
        and not any(vars(base).get("__slots__") for base in cls.__mro__)
    )
