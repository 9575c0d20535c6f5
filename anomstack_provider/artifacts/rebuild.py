"""The functions that a bundle may call while it is loaded, and nothing else of any module.

They take plain values (text, numbers, bytes, lists, dicts) and what the others have returned. Classes come in
by name and are looked up on the allow-list: no class, and no function of another module, is in reach.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from anomstack_provider.artifacts.allowlist import Kind, NotAllowed, field_names, kind_of, name_of, resolve
from anomstack_provider.artifacts.compiled import Compiled, put_together

# How a dtype is written: its text, or (names, formats, offsets, itemsize) of a record.
DTypeText = str | tuple[tuple[str, ...], tuple[Any, ...], tuple[int, ...], int]

_PLAIN_DTYPE = re.compile(r"[<>|][biufcSUVmM]\d+(\[\d*[A-Za-z]+\])?")
_SCALAR_KINDS = "biufcmM"


class Rebuilder:
    """
    A function as a bundle sees it: it can be called, and nothing about it can be changed.

    A pickle may set attributes on any object it gets hold of, a plain function's defaults among them.
    """

    __slots__ = ("_function", "name")

    def __init__(self, function: Callable[..., object]) -> None:
        self._function = function
        self.name = function.__name__

    def __call__(self, *args: object) -> object:
        return self._function(*args)

    def __setstate__(self, state: object) -> None:
        raise NotAllowed(f"{self.name} has no state")


@Rebuilder
def make(name: str) -> object:
    """Return an empty detector, estimator or record, for :func:`fill`; its ``__init__`` does not run."""
    cls, kind = resolve(name)
    if kind is Kind.NATIVE:
        raise NotAllowed(f"{name!r} cannot be made empty")
    made: object = object.__new__(cls)
    return made


@Rebuilder
def fill(made: object, state: dict[str, object]) -> None:
    """Give an object of :func:`make` its attributes; a record must get exactly its fields."""
    kind = kind_of(type(made))
    if type(state) is not dict or any(type(key) is not str for key in state):
        raise NotAllowed(f"the state of {name_of(type(made))!r} is not a dict of attributes")
    state = {key: value.structure if type(value) is Compiled else value for key, value in state.items()}
    if kind is Kind.ESTIMATOR:
        vars(made).update(state)
        return
    cls: Any = type(made)
    known = field_names(cls)
    if kind is not Kind.RECORD or state.keys() != known:
        raise NotAllowed(f"{name_of(type(made))!r} has the fields {sorted(known)}, not {sorted(state)}")
    for attribute, value in state.items():
        object.__setattr__(made, attribute, value)


@Rebuilder
def native(name: str, args: tuple[object, ...], state: object) -> object:
    """Return one of the compiled structures, for :func:`fill` to unwrap."""
    return put_together(name, args, state)


@Rebuilder
def array(dtype: DTypeText, shape: tuple[int, ...], order: str, data: bytes | bytearray) -> np.ndarray[Any, Any]:
    """Return an array over ``data``: writable where that is a bytearray, with no second copy made."""
    kind = read_dtype(dtype)
    if type(data) not in (bytes, bytearray) or _length(shape) * kind.itemsize != len(data):
        raise NotAllowed(f"an array of shape {shape} and type {dtype!r} does not have that many bytes")
    if not data:
        return np.zeros(shape, kind)
    flat: np.ndarray[Any, Any] = np.frombuffer(data, kind)
    return flat.reshape(shape, order="F" if order == "F" else "C")


@Rebuilder
def objects(shape: tuple[int, ...], items: list[object]) -> np.ndarray[Any, Any]:
    """Return an array of Python objects, filled in C order."""
    if type(items) is not list or _length(shape) != len(items):
        raise NotAllowed(f"an array of shape {shape} does not have that many objects")
    made = np.empty(len(items), dtype=object)
    for position, item in enumerate(items):
        made[position] = item
    return made.reshape(shape)


@Rebuilder
def scalar(dtype: str, data: bytes) -> object:
    """Return a NumPy number, boolean or time."""
    kind = read_dtype(dtype)
    if type(data) is not bytes or kind.kind not in _SCALAR_KINDS or kind.itemsize != len(data):
        raise NotAllowed(f"{dtype!r} is not a number of {len(data)} bytes")
    return np.frombuffer(data, kind)[0]


@Rebuilder
def random_state(state: dict[str, Any]) -> np.random.RandomState:
    """Return a Mersenne Twister with this state."""
    if type(state) is not dict or state.get("bit_generator") != "MT19937":
        raise NotAllowed("only the state of a Mersenne Twister can be restored")
    made = np.random.RandomState(0)
    made.set_state(state)
    return made


REBUILDERS = {made.name: made for made in (make, fill, native, array, objects, scalar, random_state)}


@cache
def read_dtype(text: DTypeText) -> np.dtype[Any]:
    """Return the dtype; raises :class:`NotAllowed` for anything that holds Python objects."""
    if isinstance(text, str):
        if not _PLAIN_DTYPE.fullmatch(text):
            raise NotAllowed(f"{text!r} is not a plain array type")
        plain = np.dtype(text)
        if plain.itemsize == 0:  # NumPy makes it one wide when it makes an array
            raise NotAllowed(f"{text!r} holds nothing")
        return plain
    names, formats, offsets, itemsize = text
    return np.dtype(
        {
            "names": list(names),
            "formats": [read_dtype(part) for part in formats],
            "offsets": list(offsets),
            "itemsize": itemsize,
        }
    )


@cache
def write_dtype(dtype: np.dtype[Any]) -> DTypeText:
    """Return the dtype as :func:`read_dtype` reads it; raises :class:`NotAllowed` where it could not."""
    text: DTypeText
    if dtype.names is None:
        text = dtype.str
    else:
        parts = [dtype.fields[name] for name in dtype.names] if dtype.fields else []
        formats = tuple(write_dtype(part[0]) for part in parts)
        text = (dtype.names, formats, tuple(part[1] for part in parts), dtype.itemsize)
    if dtype.hasobject or read_dtype(text) != dtype:
        raise NotAllowed(f"arrays of type {dtype} cannot be kept in a bundle")
    return text


def _length(shape: tuple[int, ...]) -> int:
    if type(shape) is not tuple or any(type(size) is not int or size < 0 for size in shape):
        raise NotAllowed(f"{shape!r} is not the shape of an array")
    return math.prod(shape)
