"""Fitted models to the bytes of one bundle and back, without running what a file says.

A bundle is a line naming the format, a line naming its key, and a pickle (protocol 5) under zlib level 1. The pickle
is written with the ``opcodes`` of our own pickler and calls nothing but the functions of ``rebuild``, which look
classes up on the ``allowlist``; the unpickler knows no other name. Objects are taken apart by the same rules when they
are saved, so what could not be loaded is refused then.

Chosen over skops by measuring (``benchmarks/artifacts_format.py``, 1,000 PCA + 1,000 KNN + 10 IForest of 2,000 x 6, in
one run): skops takes 18 times our time to save, 4 times to load and 4.2 times the bytes (1.1 times when deflated),
and it trusts whole classes with their ``__setstate__``, compiled ones too. A plain pickle, not compressed, takes 0.2,
0.3 and 3.0 times: zlib costs a twelfth of the time of fitting and saves two thirds of the bytes, level 6 another
eighth for 1.6 times the time.

What this cannot promise: that the numbers in a bundle make sense. Whoever may write to the store can make models
that score wrongly, or that libsvm trips over; write access to it is worth as much as to the metrics table.
"""

from __future__ import annotations

import copyreg
import gc
import io
import pickle
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np

from anomstack_provider.artifacts import rebuild
from anomstack_provider.artifacts.allowlist import Kind, NotAllowed, field_names, kind_of, name_of
from anomstack_provider.artifacts.compiled import Compiled, is_compiled, take_apart
from anomstack_provider.artifacts.errors import BadBundle, UnsupportedModel
from anomstack_provider.artifacts.opcodes import check_opcodes

# Part of every bundle and manifest. Raise it whenever older bundles must be trained again.
FORMAT = 1
# Bytes of one bundle before compression: what a reader may be made to hold in memory.
MAX_RAW_BYTES = 4 * 2**30

_MAGIC = b"anomstack models %d\n" % FORMAT
# Numbers compress badly: a bundle of which a sample would keep more than this share of its bytes stays as it is.
_WORTH_IT, _SAMPLE = 0.8, 2**16


def pack(label: str, models: Mapping[str, object]) -> tuple[bytes, int]:
    """
    Return the bytes of a bundle, and their number before compression.

    The same models give the same bytes, whatever the order of ``models``.

    :param label: one line that says whose models these are; :func:`unpack` asks for the same.
    :raises UnsupportedModel: a model holds something that loading would refuse; names metric and attribute.
    """
    try:
        raw = dumps({name: models[name] for name in sorted(models)})
    except (NotAllowed, RecursionError) as error:
        where, problem = next(_culprits(dict(models), "models"), ("models", error))
        raise UnsupportedModel(
            f"{where} cannot be saved: {problem}. Choose another detector for this metric, or other settings."
        ) from error
    if len(raw) > MAX_RAW_BYTES:
        raise UnsupportedModel(
            f"{len(models)} models make {len(raw)} bytes, the limit is {MAX_RAW_BYTES}: use more shards."
        )
    return b"".join((_MAGIC, label.encode("ascii"), b"\n", zlib.compress(raw, _level(raw)))), len(raw)


def _level(raw: bytes) -> int:
    """Return zlib's level for these bytes: 1, or 0 where it would save little."""
    sample = raw[len(raw) // 2 :][:_SAMPLE]
    return 1 if len(zlib.compress(sample, 1)) <= _WORTH_IT * len(sample) else 0


def unpack(data: bytes, label: str, raw_size: int) -> dict[str, object]:
    """
    Return the models of a bundle whose hash has been verified.

    :raises BadBundle: not a bundle of this format and label, damaged, or asking for what is not allowed.
    """
    head = _MAGIC + label.encode("ascii") + b"\n"
    if not data.startswith(_MAGIC):
        raise BadBundle(f"it is not a bundle of format {FORMAT}")
    if not data.startswith(head):
        raise BadBundle("it holds the models of another batch, tick, config or shard")
    models = loads(_decompress(memoryview(data)[len(head) :], raw_size))
    if type(models) is not dict or any(type(name) is not str for name in models):
        raise BadBundle("it does not hold models by metric name")
    return models


def dumps(value: object) -> bytes:
    """Return ``value`` as a pickle that needs nothing but ``rebuild``; raises :class:`NotAllowed`."""
    out = io.BytesIO()
    with _no_garbage():
        _Pickler(out).dump(value)
    return out.getvalue()


def loads(raw: bytes) -> object:
    """Return the value; raises :class:`BadBundle`."""
    # A process-wide cache of classes by number, which the unpickler would ask before find_class.
    copyreg.clear_extension_cache()
    try:
        with _no_garbage():
            check_opcodes(raw)
            return _Unpickler(io.BytesIO(raw)).load()
    except Exception as error:  # hostile bytes can end in any exception, and each means the same
        raise BadBundle(f"its content is refused: {type(error).__name__}: {error}") from error


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Keep the collector away: none of the many new objects is garbage, and it would look at all that there are."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _Pickler(pickle.Pickler):
    """Writes every object beyond plain Python values as a call of one of ``rebuild``'s functions."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=5)
        self._compiled: dict[int, Compiled] = {}

    def reducer_override(self, obj: Any) -> Any:
        cls: Any = type(obj)
        if cls is np.ndarray:
            return _reduce_array(obj)
        if cls is rebuild.Rebuilder:
            return obj.name
        if cls is Compiled:
            return rebuild.native, take_apart(obj.structure)
        if isinstance(obj, np.generic):
            if obj.dtype.kind not in "biufcmM":
                raise NotAllowed(f"a NumPy value of type {obj.dtype} cannot be kept in a bundle")
            return rebuild.scalar, (rebuild.write_dtype(obj.dtype), obj.tobytes())
        if cls is np.random.RandomState:
            return rebuild.random_state, (obj.get_state(legacy=False),)
        kind = kind_of(cls)
        if kind is Kind.NATIVE:
            raise NotAllowed(f"{name_of(cls)!r} is only kept as an attribute of an estimator")
        is_record = kind is Kind.RECORD
        state = {name: getattr(obj, name) for name in sorted(field_names(cls))} if is_record else vars(obj)
        wrapped = {name: self._wrapped(value) for name, value in state.items()}
        return rebuild.make, (name_of(cls),), wrapped, None, None, rebuild.fill

    def _wrapped(self, value: Any) -> object:
        cls: Any = type(value)
        if not is_compiled(cls):
            return value
        # The same wrapper for the same structure, so that what is shared stays shared.
        return self._compiled.setdefault(id(value), Compiled(value))


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if module_name == rebuild.__name__ and global_name in rebuild.REBUILDERS:
            return rebuild.REBUILDERS[global_name]
        raise NotAllowed(f"{module_name}.{global_name} is not on the allow-list")


def _reduce_array(array: np.ndarray[Any, Any]) -> tuple[rebuild.Rebuilder, tuple[object, ...]]:
    if array.dtype == object:
        return rebuild.objects, (array.shape, array.ravel(order="C").tolist())
    dtype = rebuild.write_dtype(array.dtype)
    in_fortran_order = array.flags.f_contiguous and not array.flags.c_contiguous
    if not array.flags.forc:
        array = array.copy(order="C")
    if array.nbytes == 0:
        return rebuild.array, (dtype, array.shape, "C", b"")
    # The buffer without a copy; bytes for a read-only array, so that it comes back read-only.
    flat: Any = array.reshape(-1, order="A").view(np.uint8)
    return rebuild.array, (dtype, array.shape, "F" if in_fortran_order else "C", pickle.PickleBuffer(flat))


def _decompress(data: memoryview, raw_size: int) -> bytes:
    if not 0 < raw_size <= MAX_RAW_BYTES:
        raise BadBundle(f"it claims {raw_size} bytes, the limit is {MAX_RAW_BYTES}")
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(data, raw_size)
        complete = stream.eof or (not stream.decompress(stream.unconsumed_tail, 1) and stream.eof)
    except zlib.error as error:
        raise BadBundle(f"it cannot be decompressed: {error}") from error
    if len(raw) != raw_size or not complete or stream.unused_data:
        raise BadBundle(f"it does not decompress to the {raw_size} bytes that its manifest declares")
    return raw


def _culprits(value: object, path: str, depth: int = 12) -> Iterator[tuple[str, BaseException]]:
    """Yield the innermost places that cannot be saved; only walked after saving has failed."""
    try:
        dumps(value)
    except (NotAllowed, RecursionError) as error:
        parts = _parts(value, path) if depth else []
        inner = chain.from_iterable(_culprits(part, place, depth - 1) for place, part in parts)
        yield next(inner, (path, error))


def _parts(value: object, path: str) -> list[tuple[str, object]]:
    if isinstance(value, Mapping):
        return [(f"{path}[{key!r}]", part) for key, part in value.items()]
    if isinstance(value, list | tuple):
        return [(f"{path}[{number}]", part) for number, part in enumerate(value)]
    try:
        kind_of(type(value))
    except NotAllowed:
        return []  # the object itself is the problem, not what it is made of
    return [(f"{path}.{name}", part) for name, part in getattr(value, "__dict__", {}).items()]
