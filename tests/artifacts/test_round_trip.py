"""What is fitted, saved and loaded is the same to the bit; what could not be loaded is refused when it is saved."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from anomstack_provider.artifacts.allowlist import ESTIMATOR_MODULES, NATIVE, resolve
from anomstack_provider.artifacts.errors import UnsupportedModel
from anomstack_provider.artifacts.serialization import dumps, loads, pack, unpack

# Fitted on fewer rows.
SLOW = {"ABOD", "COF", "LOCI", "RGraph", "SOD", "SOS", "KShape", "SAND"}

Array = np.ndarray[Any, Any]


def detector(name: str, **settings: Any) -> Any:
    cls = getattr(importlib.import_module(f"pyod.models.{name.lower()}"), name)
    return cls(**settings)


def allowed_detectors() -> list[str]:
    """Every PyOD module on the allow-list that this PyOD has; some came with later versions."""
    names = sorted(module for module in ESTIMATOR_MODULES if module.startswith("pyod."))
    found = [name for name in names if importlib.util.find_spec(name)]
    assert len(found) > 25
    return found


def fitted_detector(module: str, rows: Array) -> Any:
    from pyod.models.base import BaseDetector
    from pyod.models.knn import KNN

    members = vars(importlib.import_module(module)).values()
    (cls,) = (
        member
        for member in members
        if isinstance(member, type) and issubclass(member, BaseDetector) and member.__module__ == module
    )
    settings: dict[str, Any] = {}
    if cls.__name__ == "LSCP":
        settings = {"detector_list": [KNN(n_neighbors=3), KNN(n_neighbors=7)], "random_state": 1}
    if cls.__name__ == "TimeSeriesOD":
        settings = {"window_size": 10}
    return cls(**settings).fit(rows[:60] if cls.__name__ in SLOW else rows)


def through_a_bundle(model: object) -> Any:
    data, raw_size = pack("{}", {"m": model})
    return unpack(data, "{}", raw_size)["m"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("module", allowed_detectors())
def test_detector_scores_the_same_to_the_bit(module: str, rows: Array, other_rows: Array) -> None:
    if module.endswith(".mad"):  # takes one column
        rows, other_rows = rows[:, :1], other_rows[:, :1]
    np.random.seed(3)
    fitted = fitted_detector(module, rows)
    loaded = through_a_bundle(fitted)
    assert type(loaded) is type(fitted)
    assert loaded.get_params().keys() == fitted.get_params().keys()
    np.testing.assert_array_equal(loaded.decision_scores_, fitted.decision_scores_, strict=True)
    np.testing.assert_array_equal(loaded.labels_, fitted.labels_, strict=True)
    assert loaded.threshold_ == fitted.threshold_
    if module.endswith(".ts_matrix_profile"):  # only scores what it was fitted on
        return
    # Some draw random numbers when they score.
    np.random.seed(4)
    expected = fitted.decision_function(other_rows)
    np.random.seed(4)
    np.testing.assert_array_equal(loaded.decision_function(other_rows), expected, strict=True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("metric", ["manhattan", "chebyshev", "minkowski"])
@pytest.mark.parametrize("algorithm", ["ball_tree", "kd_tree", "brute"])
def test_knn_of_every_tree(algorithm: str, metric: str, rows: Array, other_rows: Array) -> None:
    fitted = detector("KNN", algorithm=algorithm, metric=metric, p=3).fit(rows)
    loaded = through_a_bundle(fitted)
    np.testing.assert_array_equal(loaded.decision_function(other_rows), fitted.decision_function(other_rows))


def test_a_loaded_model_can_be_fitted_again(knn: Any, other_rows: Array) -> None:
    again = through_a_bundle(knn).fit(other_rows)
    np.testing.assert_array_equal(again.decision_scores_, detector("KNN").fit(other_rows).decision_scores_)


def test_our_own_records(knn: Any, other_rows: Array) -> None:
    from anomstack_provider.detection.grain import Grain
    from anomstack_provider.detection.pipeline import FittedModel

    model = FittedModel(name="KNN", detector=knn, low=0.25, high=float(knn.decision_scores_.max()))
    loaded, grain = through_a_bundle((model, Grain(1, "d")))
    assert grain == Grain(1, "d")
    assert (loaded.name, loaded.low, loaded.high) == (model.name, model.low, model.high)
    np.testing.assert_array_equal(loaded.score(other_rows), model.score(other_rows))


_NUMBERS = npst.scalar_dtypes()
_RECORDS = st.lists(_NUMBERS, min_size=1, max_size=3).flatmap(
    lambda parts: st.booleans().map(
        lambda align: np.dtype([(f"field {number}", part) for number, part in enumerate(parts)], align=align)
    )
)


@settings(max_examples=60, deadline=None)
@given(
    npst.arrays(_NUMBERS | _RECORDS, npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)),
    st.sampled_from(["C", "F", "every second", "read-only"]),
)
def test_any_array(array: Array, layout: str) -> None:
    if layout == "F":
        array = np.asfortranarray(array)
    elif layout == "every second" and array.ndim:
        array = array[::2]
    elif layout == "read-only":
        array = array.copy()
        array.flags.writeable = False
    loaded: Any = loads(dumps(array))
    # Field by field: the padding between aligned fields has no value.
    for part in [...] if array.dtype.names is None else array.dtype.names:
        assert loaded[part].tobytes() == array[part].tobytes()
    assert (loaded.dtype, loaded.shape) == (array.dtype, array.shape)
    assert array.size == 0 or loaded.flags.f_contiguous or not array.flags.f_contiguous
    assert array.nbytes == 0 or loaded.flags.writeable == array.flags.writeable


@pytest.mark.parametrize(
    "value",
    [
        np.float64(-0.0),
        np.float32("nan"),
        np.int64(-5),
        np.bool_(True),
        np.datetime64("2013-02-08T01:02:03", "us"),
        np.timedelta64(90, "m"),
        np.complex128(1 - 2j),
    ],
)
def test_numbers(value: np.generic) -> None:
    loaded: Any = loads(dumps(value))
    assert type(loaded) is type(value)
    assert loaded.dtype == value.dtype
    assert loaded.tobytes() == value.tobytes()


def test_arrays_of_objects_and_plain_values() -> None:
    names = np.array([["a", None], [2.5, ("x", {"y": [1]})]], dtype=object)
    loaded: Any = loads(dumps({"names": names, "plain": [True, None, 2**80, b"\0", {"s"}, 1.5, "\ud800"]}))
    assert loaded["names"].tolist() == names.tolist()
    assert loaded["plain"] == [True, None, 2**80, b"\0", {"s"}, 1.5, "\ud800"]


def test_random_state_goes_on_where_it_was() -> None:
    state = np.random.RandomState(5)
    state.normal(size=7)
    loaded: Any = loads(dumps(state))
    assert loaded.normal(size=9).tolist() == state.normal(size=9).tolist()


def test_what_was_one_object_is_one_object(knn: Any) -> None:
    loaded = through_a_bundle([knn, knn])
    assert loaded[0] is loaded[1]
    assert loaded[0].tree_ is loaded[0].neigh_._tree


def test_an_object_that_holds_itself(rows: Array) -> None:
    fitted = detector("HBOS").fit(rows)
    fitted.me = fitted
    loaded = through_a_bundle(fitted)
    assert loaded.me is loaded
    assert vars(loaded).keys() == vars(fitted).keys()


def test_the_order_of_the_models_does_not_matter(knn: Any) -> None:
    assert pack("{}", {"b": knn, "a": 1}) == pack("{}", {"a": 1, "b": knn})


_FIT_AND_PRINT = """
import hashlib, numpy as np
from pyod.models.iforest import IForest
from pyod.models.knn import KNN
from pyod.models.pca import PCA
from anomstack_provider.artifacts.serialization import pack
rows = np.random.default_rng(1).normal(size=(200, 6))
models = [PCA().fit(rows), KNN().fit(rows), IForest(random_state=0, n_estimators=5).fit(rows)]
print(hashlib.sha256(pack("{}", {str(number): model for number, model in enumerate(models)})[0]).hexdigest())
"""


def test_another_process_makes_the_same_bytes() -> None:
    command = [sys.executable, "-W", "ignore", "-c", _FIT_AND_PRINT]
    processes = [
        subprocess.Popen(command, env=os.environ | {"PYTHONHASHSEED": seed}, stdout=subprocess.PIPE)
        for seed in ("1", "2")
    ]
    first, second = (process.communicate()[0] for process in processes)
    assert first == second
    assert len(first.strip()) == 64


@dataclass(frozen=True)
class NotOurs:
    """A frozen dataclass, but outside the detection package."""

    value: float = 1.0


@pytest.mark.filterwarnings("ignore")
def test_refused_when_saved_naming_metric_and_attribute(knn: Any, rows: Array) -> None:
    from pyod.models.lmdd import LMDD

    with pytest.raises(UnsupportedModel, match=r"models\['x / y'\] cannot be saved: 'pyod.models.lmdd:LMDD'"):
        pack("{}", {"fine": knn, "x / y": LMDD().fit(rows[:30])})


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (print, "builtin_function_or_method"),
        (lambda: 1, "builtins:function"),
        (os, "builtins:module"),
        (np.float64, "builtins:type"),
        (np.ndarray, "builtins:type"),
        (NotOurs(), "NotOurs"),
        (np.random.default_rng(1), "Generator"),
        (np.ma.masked_array([1.0]), "MaskedArray"),
        (np.str_("text"), "<U4"),
        (np.array([(1, None)], dtype=[("a", int), ("b", object)]), "cannot be kept"),
        (object(), "builtins:object"),
        (1j, "builtins:complex"),
        (ValueError("x"), "builtins:ValueError"),
    ],
    ids=lambda value: getattr(type(value), "__name__", None),
)
def test_code_and_unknown_classes_are_refused_when_saved(knn: Any, value: object, named: str) -> None:
    for model in (value, [1, {"a": value}], {"deep": (knn, [value])}):
        with pytest.raises(UnsupportedModel, match=named):
            pack("{}", {"m": model})


def test_an_attribute_deep_inside_a_detector_is_named(rows: Array) -> None:
    from anomstack_provider.detection.pipeline import FittedModel

    fitted = detector("PCA").fit(rows)
    fitted.scaler_.hook = [1, print]
    with pytest.raises(UnsupportedModel, match=r"models\['m'\]\.detector\.scaler_\.hook\[1\] cannot be saved"):
        pack("{}", {"m": FittedModel("PCA", fitted, 0.0, 1.0)})


def test_a_class_that_takes_another_place_is_refused(knn: Any) -> None:
    cls = type("KNN", (type(knn),), {"__module__": "pyod.models.knn"})
    with pytest.raises(UnsupportedModel, match="is not the class of that name"):
        pack("{}", {"m": cls()})


def test_a_class_with_a_state_of_its_own_is_refused(monkeypatch: pytest.MonkeyPatch, knn: Any) -> None:
    from pyod.models import knn as module

    def getstate(self: object) -> dict[str, object]:
        return {"lost": "something"}

    cls = type("Custom", (type(knn),), {"__module__": "pyod.models.knn", "__getstate__": getstate})
    monkeypatch.setattr(module, "Custom", cls, raising=False)
    with pytest.raises(UnsupportedModel, match="has a state of its own making"):
        pack("{}", {"m": cls()})


def test_the_allow_list_names_what_exists() -> None:
    assert {resolve(name)[0].__name__ for name in NATIVE if "Distance" not in name} == {"KDTree", "BallTree", "Tree"}
    for module in ESTIMATOR_MODULES:
        if module.startswith("sklearn."):
            importlib.import_module(module)
