"""scikit-learn's compiled structures in a bundle: taken apart, checked and put together again.

Their own ``__setstate__`` believes what it is given, and reads beyond its arrays if that is wrong. So their state is
checked here first, and while a bundle is loaded they stay inside a :class:`Compiled`, where no opcode of a pickle
gets at them; they come out as attributes of the estimator that holds them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from anomstack_provider.artifacts.allowlist import NATIVE, Kind, NotAllowed, name_of, resolve

Array = np.ndarray[Any, Any]

_METRIC_AT = 11  # place of the distance metric in the state of a KDTree or BallTree
_STATE_LENGTH = 13


class Compiled:
    """A compiled structure on its way into or out of a bundle."""

    __slots__ = ("structure",)

    def __init__(self, structure: object) -> None:
        self.structure = structure

    def __setstate__(self, state: object) -> None:
        raise NotAllowed("a compiled structure is not changed after it was made")


@cache
def is_compiled(cls: Any) -> bool:
    """Tell whether objects of this class are the ones that this module knows."""
    return name_of(cls) in NATIVE


def take_apart(structure: Any) -> tuple[str, tuple[object, ...], object]:
    """Return its class's name, and the arguments and state for :func:`put_together`; a metric inside is wrapped."""
    made_by, args, state = structure.__reduce__()
    name = name_of(type(structure))
    if made_by is type(structure):  # a decision tree, made from its sizes
        return name, args, state
    if len(state) == _STATE_LENGTH:
        state = (*state[:_METRIC_AT], Compiled(state[_METRIC_AT]), *state[_METRIC_AT + 1 :])
    return name, (), state


def put_together(name: str, args: tuple[object, ...], state: object) -> Compiled:
    """Return the structure; raises :class:`NotAllowed` for a state that its code could not be trusted with."""
    cls, kind = resolve(name)
    if kind is not Kind.NATIVE:
        raise NotAllowed(f"{name!r} is not a compiled structure")
    if cls.__name__ == "Tree":
        return Compiled(_decision_tree(cls, args, state))
    if cls.__name__ in ("KDTree", "BallTree"):
        return Compiled(_point_tree(cls, state))
    return Compiled(_metric(cls, state))


def _metric(cls: Any, state: Any) -> Any:
    _require(type(state) is tuple and len(state) == 3, "a distance metric has three parts")
    power, vector, matrix = state
    _require(type(power) is float, "its power is a number")
    _require(_is_array(vector, 1, "f8") and _is_array(matrix, 2, "f8"), "its vector and matrix are of float64")
    _require(matrix.shape[0] == matrix.shape[1], "its matrix is square")
    made = cls.__new__(cls)
    made.__setstate__(state)
    return made


def _point_tree(cls: Any, state: Any) -> Any:
    from sklearn.metrics import DistanceMetric

    _require(type(state) is tuple and len(state) == _STATE_LENGTH, "a tree of points has thirteen parts")
    points, order, nodes, bounds, *numbers, held, weights = state
    _require(_is_array(points, 2, "f8") and _is_array(order, 1, "i"), "its points are float64, their order integers")
    _require(_is_array(nodes, 1, "V") and _is_array(bounds, 3, "f8"), "its nodes are records, their bounds float64")
    _require(all(type(number) is int for number in numbers), "its counts are integers")
    levels, count = numbers[1], numbers[2]
    _require(0 < levels < 60 and count == len(nodes) == 2**levels - 1, "its nodes fill its levels")
    wanted = (2 if cls.__name__ == "KDTree" else 1, count, points.shape[1])
    _require(bounds.shape == wanted, "every node has bounds in every column")
    _require(order.shape == points.shape[:1] and _within(order, 0, len(points)), "its order is of its points")
    starts, ends = nodes["idx_start"], nodes["idx_end"]
    _require(_within(starts, 0, len(points) + 1) and _within(ends, 0, len(points) + 1), "its nodes hold its points")
    _require(bool((starts <= ends).all()) and bool(nodes["is_leaf"][count // 2 :].all()), "its last level is leaves")
    _require(weights is None or (_is_array(weights, 1, "f8") and len(weights) == len(points)), "one weight a point")
    metric: Any = held.structure if type(held) is Compiled else None
    _require(isinstance(metric, DistanceMetric), "it has a distance metric")
    metric._validate_data(points)
    made = cls.__new__(cls)
    made.__setstate__((*state[:_METRIC_AT], metric, weights))
    return made


def _decision_tree(cls: Any, args: Any, state: Any) -> Any:
    _require(type(args) is tuple and len(args) == 3, "a decision tree has three sizes")
    columns, classes, outputs = args
    _require(type(columns) is int and columns > 0 and type(outputs) is int, "its sizes are integers")
    _require(_is_array(classes, 1, "i") and len(classes) == outputs > 0, "it counts classes for every output")
    _require(bool((classes > 0).all()), "every output has a class")
    _require(type(state) is dict and type(state.get("max_depth")) is int, "its state is a dict")
    nodes, values, count = state.get("nodes"), state.get("values"), state.get("node_count")
    _require(_is_array(nodes, 1, "V") and _is_array(values, 3, "f8"), "its nodes are records, its values float64")
    _require(type(count) is int and count == len(nodes) > 0, "it has as many nodes as it says")
    left, right = nodes["left_child"], nodes["right_child"]
    own = np.arange(count)
    leaf = left == -1
    for child in (left, right):
        # Children stand behind their parents, so every walk ends.
        _require(bool((leaf | ((child > own) & (child < count))).all()), "its branches lead to its own nodes")
    feature = nodes["feature"]
    _require(bool((leaf | ((feature >= 0) & (feature < columns))).all()), "it splits on its own columns")
    made = cls(columns, classes, outputs)
    made.__setstate__(state)
    return made


def _is_array(value: Any, dimensions: int, kind: str) -> bool:
    return type(value) is np.ndarray and value.ndim == dimensions and value.dtype.str[1:].startswith(kind)


def _within(values: Array, low: int, high: int) -> bool:
    return values.size == 0 or bool(values.min() >= low and values.max() < high)


def _require(condition: bool, rule: str) -> None:
    if not condition:
        raise NotAllowed(f"the state of a compiled structure is damaged: {rule}")
