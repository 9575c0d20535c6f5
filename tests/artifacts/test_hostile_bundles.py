"""
Bundles made to run something when they are loaded, with a right manifest and a right hash, run nothing and are refused.

Each gadget is first given to plain pickle, where it does make its canary file: it would work if it were let in.
"""

from __future__ import annotations

import copyreg
import functools
import operator
import os
import pickle
import struct
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anomstack_provider.artifacts import compiled, opcodes, rebuild
from anomstack_provider.artifacts.allowlist import NotAllowed
from anomstack_provider.artifacts.errors import BadBundle, UnsupportedModel
from anomstack_provider.artifacts.model_store import ModelKey, ModelRefused, ModelStore
from anomstack_provider.artifacts.serialization import dumps, loads, pack

REBUILD = rebuild.__name__
EXTENSION = 0x7FFFFF00

Planter = Callable[..., Path]


class Call:
    """Pickles as the call of a function."""

    def __init__(self, called: object, *args: object) -> None:
        self.reduced = (called, args)

    def __reduce__(self) -> Any:
        return self.reduced


def text(value: str) -> bytes:
    """Return the opcode for a text, as ``call`` and ``program`` take it."""
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def call(module: str, name: str, *args: bytes) -> bytes:
    return text(module) + text(name) + b"\x93(" + b"".join(args) + b"tR"


def program(*parts: bytes) -> bytes:
    return b"\x80\x05" + b"".join(parts) + b"."


def touch(canary: Path) -> Call:
    return Call(os.system, f"touch {canary}")


def pickled(value: object) -> bytes:
    return pickle.dumps(value, protocol=5)


def pickle_file(canary: Path) -> str:
    """Write a file that makes the canary when it is unpickled."""
    path = canary.with_name("gadget.pkl")
    path.write_bytes(pickled(touch(canary)))
    return str(path)


def expression(canary: Path) -> str:
    return f"__import__('pathlib').Path({str(canary)!r}).touch() or 1"


def array_of(value: object) -> np.ndarray[Any, Any]:
    made = np.empty(1, dtype=object)
    made[0] = value
    return made


def scaler_with(value: object) -> object:
    from sklearn.preprocessing import StandardScaler

    made = StandardScaler()
    made.mean_ = [{"x": value}]
    return made


GADGETS: dict[str, Callable[[Path], bytes]] = {
    "os.system": lambda c: pickled(touch(c)),
    "eval": lambda c: pickled(Call(eval, expression(c))),
    "exec": lambda c: pickled(Call(exec, expression(c))),
    "subprocess": lambda c: pickled(Call(subprocess.check_call, ["touch", str(c)])),
    "Popen as a class": lambda c: pickled(
        Call(operator.methodcaller("wait"), Call(subprocess.Popen, ["touch", str(c)]))
    ),
    "partial": lambda c: pickled(Call(functools.partial(functools.partial(os.system), f"touch {c}"))),
    "methodcaller": lambda c: pickled(Call(operator.methodcaller("touch"), c)),
    "getattr": lambda c: program(
        call("builtins", "getattr", call("importlib", "import_module", text("os")), text("system")),
        b"(" + text(f"touch {c}") + b"tR",
    ),
    "map": lambda c: pickled(Call(list, Call(map, os.system, [f"touch {c}"]))),
    "numpy.load": lambda c: pickled(Call(np.load, pickle_file(c), None, True)),
    "numpy.f2py": lambda c: program(call("numpy.f2py.crackfortran", "myeval", text(expression(c)))),
    "joblib.load": lambda c: program(call("joblib", "load", text(pickle_file(c)))),
    "array of objects": lambda c: pickled(array_of(touch(c))),
    "state of an estimator": lambda c: pickled({"m": scaler_with(touch(c))}),
    "beside a model": lambda c: pickled({"fine": 1, "m": [{"x": (touch(c),)}]}),
    "after a whole model": lambda c: program(dumps({"fine": 1})[2:-1] + b"0", call("os", "system", text(f"touch {c}"))),
    "protocol 0": lambda c: f"cposix\nsystem\n(S'touch {c}'\ntR.".encode(),
    "inst opcode": lambda c: f"(S'touch {c}'\niposix\nsystem\n.".encode(),
    "obj opcode": lambda c: f"(cposix\nsystem\nS'touch {c}'\no.".encode(),
    "dotted name": lambda c: program(call("shutil", "os.system", text(f"touch {c}"))),
    "dotted name below rebuild": lambda c: program(call(REBUILD, "np.load", text(pickle_file(c)), b"N", b"\x88")),
    "copyreg extension": lambda c: program(
        call("copyreg", "add_extension", text("posix"), text("system"), number(EXTENSION)) + b"0",
        b"\x84" + struct.pack("<i", EXTENSION) + b"(" + text(f"touch {c}") + b"tR",
    ),
    "copyreg reconstructor": lambda c: pickled(
        Call(copyreg._reconstructor, subprocess.Popen, subprocess.Popen, ["touch", str(c)])  # type: ignore[attr-defined]
    ),
}


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "canary"
    if ("posix", "system") in copyreg._extension_registry:  # type: ignore[attr-defined]
        copyreg.remove_extension("posix", "system", EXTENSION)
    copyreg.clear_extension_cache()


def sang(canary: Path) -> bool:
    """Tell whether the canary was made, and remove it; a gadget may have started a process for it."""
    deadline = time.monotonic() + 5
    while not canary.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    if canary.exists():
        canary.unlink()
        return True
    return False


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("gadget", GADGETS.values(), ids=GADGETS)
def test_gadget_is_refused_and_does_not_run(
    gadget: Callable[[Path], bytes], canary: Path, store: ModelStore, key: ModelKey, plant: Planter
) -> None:
    raw = gadget(canary)
    pickle.loads(raw)
    assert sang(canary)

    folder = plant(raw)
    with pytest.raises(ModelRefused, match=r"content is refused: .* is not on the allow-list") as refused:
        store.load(key)
    assert refused.value.key == key
    assert refused.value.path.startswith(str(folder / "models-"))
    time.sleep(0.05)
    assert not canary.exists()


def test_the_hash_is_compared_before_anything_is_read(
    canary: Path, store: ModelStore, key: ModelKey, plant: Planter
) -> None:
    folder = plant(pickled(touch(canary)), sha256="0" * 64, object="models-" + "0" * 16 + ".bin")
    (planted,) = (path for path in folder.glob("models-*.bin") if path.stat().st_size > 200)
    planted.rename(folder / ("models-" + "0" * 16 + ".bin"))
    with pytest.raises(ModelRefused, match="sha256"):
        store.load(key)
    assert not canary.exists()


def test_a_number_that_someone_has_registered_is_refused(canary: Path) -> None:
    copyreg.add_extension("posix", "system", EXTENSION)
    raw = program(b"\x84" + struct.pack("<i", EXTENSION) + b"(" + text(f"touch {canary}") + b"tR")
    pickle.loads(raw)  # from here on the number is in a cache that no unpickler asks about
    assert sang(canary)
    with pytest.raises(BadBundle, match="not on the allow-list"):
        loads(raw)
    assert not canary.exists()


@pytest.mark.parametrize(
    "name",
    [
        "posix:system",
        "builtins:eval",
        "subprocess:Popen",
        "functools:partial",
        "numpy:ndarray",
        "numpy:load",
        "numpy.f2py.crackfortran:myeval",
        "sklearn.utils._joblib:Memory",
        "sklearn.pipeline:Pipeline",
        "sklearn.preprocessing._function_transformer:FunctionTransformer",
        "sklearn.model_selection._search:GridSearchCV",
        "sklearn.cluster._agglomerative:FeatureAgglomeration",
        "sklearn.metrics._dist_metrics:PyFuncDistance64",
        "pyod.models.embedding:EmbeddingOD",
        "pyod.models.auto_encoder:AutoEncoder",
        # What an allowed module has imported, or defines beside its detector.
        "pyod.models.knn:np",
        "pyod.models.knn:BaseDetector",
        "pyod.models.knn:NearestNeighbors",
        "pyod.models.knn:check_array",
        "pyod.models.knn:KNN.fit",
        "pyod.models.knn:__builtins__",
        "pyod.models.knn:",
        "pyod.models.knn.KNN",
        "pyod.models.knn:KNN:x",
        "pyod.models.pca:sklearn_PCA",
        "pyod.models.nothing:Nothing",
        "sklearn.ensemble._forest:Parallel",
        "sklearn.cluster._kmeans:_labels_inertia",
        "anomstack_provider.detection.pipeline:fit",
        "anomstack_provider.detection.pipeline:Any",
        "anomstack_provider.detection.detectors:importlib",
        "anomstack_provider.detection..pipeline:FittedModel",
        "anomstack_provider.artifacts.rebuild:Rebuilder",
        "anomstack_provider.detectionx:X",
        "",
        ":",
        "os",
    ],
)
def test_only_listed_classes_are_made(name: str) -> None:
    for function in ("make", "native"):
        more = [b"(t", b"}"] if function == "native" else []
        with pytest.raises(BadBundle, match="NotAllowed"):
            loads(program(call(REBUILD, function, text(name), *more)))


def test_what_is_not_listed_is_not_even_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, canary: Path) -> None:
    (tmp_path / "evil.py").write_text(f"open({str(canary)!r}, 'w').close()\nclass X: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    for raw in (
        program(call(REBUILD, "make", text("evil:X"))),
        program(call("evil", "X")),
        b"cevil\nX\n.",
    ):
        with pytest.raises(BadBundle, match="not on the allow-list"):
            loads(raw)
    assert "evil" not in sys.modules
    assert not canary.exists()
    # The file would have done it.
    pickle.loads(b"cevil\nX\n.")
    assert sang(canary)
    del sys.modules["evil"]


ONE_FLOAT = call(REBUILD, "array", text("<f8"), b"(" + number(1) + b"t", text("C"), b"\x96" + bytes([8] + [0] * 15))
ONE_BY_ONE = call(
    REBUILD, "array", text("<f8"), b"(" + number(1) + number(1) + b"t", text("C"), b"\x96" + bytes([8] + [0] * 15)
)
EUCLIDEAN = (b"(t", b"(" + b"G" + struct.pack(">d", 2.0) + ONE_FLOAT + ONE_BY_ONE + b"t")
KNN = call(REBUILD, "make", text("pyod.models.knn:KNN"))
MAKE = text(REBUILD) + text("make") + b"\x93"


@pytest.mark.parametrize(
    "raw",
    [
        # Names of this module that are no rebuilders.
        program(call(REBUILD, "resolve", text("pyod.models.knn:KNN"))),
        program(call(REBUILD, "Rebuilder", b"N")),
        program(call(REBUILD, "make.__class__", b"N")),
        program(call(REBUILD + ".make", "_function", b"N")),
        program(call("anomstack_provider.artifacts.serialization", "loads", b"C\x00")),
        # A class or a plain pickle of an allowed one.
        program(text("pyod.models.knn") + text("KNN") + b"\x93"),
        pickled(np.zeros(3)),
        # Changing the rebuilders themselves.
        program(MAKE + b"}" + text("name") + text("x") + b"sb"),
        program(MAKE + b"N}" + text("_function") + b"Ns\x86b"),
        program(call(REBUILD, "fill", MAKE, b"}" + text("name") + text("x") + b"s")),
        # Attributes for what is none of ours, or that are no attributes.
        program(call(REBUILD, "fill", b"]", b"}" + text("x") + b"Ns")),
        program(call(REBUILD, "fill", KNN, b"]")),
        program(call(REBUILD, "fill", KNN, b"}" + number(1) + b"Ns")),
        program(call(REBUILD, "fill", call(REBUILD, "array", text("<f8"), b"(t", text("C"), b"C\x00"), b"}")),
        # A record that is not ours by its fields.
        program(call(REBUILD, "fill", call(REBUILD, "make", text("anomstack_provider.detection.grain:Grain")), b"}")),
        # Compiled structures: from nothing, from rubbish, or made empty.
        program(call(REBUILD, "native", text("sklearn.neighbors._kd_tree:KDTree"), b"(t", b"]")),
        program(call(REBUILD, "native", text("sklearn.tree._tree:Tree"), b"(t", b"}")),
        program(call(REBUILD, "native", text("pyod.models.knn:KNN"), b"(t", b"}")),
        program(call(REBUILD, "make", text("sklearn.tree._tree:Tree"))),
        # Arrays of pointers, of a wrong size, of types that are none.
        program(call(REBUILD, "array", text("|O"), b"(" + number(1) + b"t", text("C"), b"C\x08" + b"\x41" * 8)),
        program(call(REBUILD, "array", text("O,O"), b"(" + number(1) + b"t", text("C"), b"C\x08" + b"\x41" * 8)),
        program(call(REBUILD, "array", text("<f8"), b"(" + number(2) + b"t", text("C"), b"C\x08" + b"\x41" * 8)),
        program(call(REBUILD, "array", text("<f8"), b"(" + number(-1) + b"t", text("C"), b"C\x08" + b"\x41" * 8)),
        program(call(REBUILD, "array", text("<f8"), text("x"), text("C"), b"C\x08" + b"\x41" * 8)),
        program(call(REBUILD, "array", text("<f8"), b"(" + number(1) + b"t", text("C"), text("A" * 8))),
        program(call(REBUILD, "array", number(5), b"(t", text("C"), b"C\x00")),
        program(call(REBUILD, "array", text("<U0"), b"(" + number(2**31 - 1) + b"t", text("C"), b"C\x00")),
        program(call(REBUILD, "objects", b"(" + number(2**31 - 1) + b"t", b"]")),
        program(call(REBUILD, "scalar", text("|V8"), b"C\x08" + b"\x41" * 8)),
        program(call(REBUILD, "scalar", text("<f8"), b"C\x04" + b"\x41" * 4)),
        program(call(REBUILD, "random_state", b"}")),
        program(call(REBUILD, "random_state", b"}" + text("bit_generator") + text("os.system") + b"s")),
        # No pickle, half of one, one that needs more than itself.
        b"",
        b"\x80\x05",
        b"not a pickle",
        b"\x80\x05(((.",
        b"\x80\x05}.extra"[:2] + b"\x97.",
        b"\x80\x05" + text("somewhere") + b"Q.",
        b"\x80\xff.",
    ],
)
def test_misuse_of_what_is_allowed_is_refused(raw: bytes) -> None:
    with pytest.raises(BadBundle, match="its content is refused"):
        loads(raw)
    # And it has left nothing behind.
    assert rebuild.make.name == "make"
    assert type(loads(program(KNN))).__name__ == "KNN"


@pytest.fixture(scope="module")
def forest(rows: np.ndarray[Any, Any]) -> Any:
    from sklearn.tree import ExtraTreeRegressor

    return ExtraTreeRegressor(random_state=0, max_depth=3).fit(rows, rows[:, 0])


def changed(value: Any, place: Any, new: Any) -> Any:
    """Return a state with one part replaced; ``place`` may lead into a dict, a tuple or a field of records."""
    if isinstance(value, dict):
        return value | {place: new}
    if isinstance(value, tuple):
        return (*value[:place], new, *value[place + 1 :])
    made = value.copy()
    made[place[0]][place[1]] = new
    return made


def rebuilt(name: str, args: Any, state: Any) -> Any:
    return compiled.put_together(name, args, state).structure


def test_a_damaged_point_tree_is_refused(knn: Any) -> None:
    name, args, state = compiled.take_apart(knn.tree_)
    assert rebuilt(name, args, state).get_arrays()[0].shape == (300, 6)
    points, order, nodes, bounds = state[:4]
    damages = [
        [],
        state[:12],
        changed(state, 0, points[:-1]),
        changed(state, 0, points[:, :5]),
        changed(state, 0, points.astype("f4")),
        changed(state, 0, None),
        changed(state, 1, order + 1),
        changed(state, 1, order - 1),
        changed(state, 1, order[:-1]),
        changed(state, 1, order.astype(float)),
        changed(state, 2, nodes[:-1]),
        changed(state, 2, changed(nodes, ("idx_end", 3), 301)),
        changed(state, 2, changed(nodes, ("idx_start", 3), -1)),
        changed(state, 2, changed(nodes, ("idx_start", 3), 300)),
        changed(state, 2, changed(nodes, ("is_leaf", len(nodes) - 1), 0)),
        changed(state, 2, bounds[0]),
        changed(state, 3, bounds[:1]),
        changed(state, 3, bounds[:, :-1]),
        changed(state, 4, 1.5),
        changed(state, 5, 0),
        changed(state, 5, 100),
        changed(state, 6, state[6] + 1),
        changed(state, 11, None),
        changed(state, 11, compiled.Compiled(knn.tree_)),
        changed(state, 11, compiled.Compiled(mahalanobis(5))),
        changed(state, 12, points[:10, 0].copy()),
    ]
    for damage in damages:
        with pytest.raises((TypeError, ValueError)):
            rebuilt(name, args, damage)


def mahalanobis(size: int) -> Any:
    from sklearn.metrics import DistanceMetric

    return DistanceMetric.get_metric("mahalanobis", VI=np.eye(size))


def test_a_damaged_distance_metric_is_refused() -> None:
    name, args, state = compiled.take_apart(mahalanobis(3))
    assert rebuilt(name, args, state).pairwise([[0.0, 0, 0], [3, 4, 0]])[0, 1] == 5
    for damage in [
        (),
        [*state],
        changed(state, 0, "2"),
        changed(state, 1, np.zeros((1, 1))),
        changed(state, 1, None),
        changed(state, 2, np.eye(3)[:2]),
        changed(state, 2, np.eye(3).astype("f4")),
    ]:
        with pytest.raises((TypeError, ValueError)):
            rebuilt(name, args, damage)


def test_a_damaged_decision_tree_is_refused(forest: Any, rows: np.ndarray[Any, Any]) -> None:
    name, args, state = compiled.take_apart(forest.tree_)
    tree = rebuilt(name, args, state)
    assert tree.predict(rows.astype("f4")).tolist() == forest.tree_.predict(rows.astype("f4")).tolist()
    nodes = state["nodes"]
    damages = [
        (args, {}),
        (args, None),
        (args, changed(state, "nodes", nodes[:-1])),
        (args, changed(state, "nodes", None)),
        (args, changed(state, "nodes", nodes["threshold"])),
        (args, changed(state, "nodes", changed(nodes, ("left_child", 0), len(nodes)))),
        (args, changed(state, "nodes", changed(nodes, ("left_child", 0), -7))),
        (args, changed(state, "nodes", changed(nodes, ("right_child", 0), 0))),
        (args, changed(state, "nodes", changed(nodes, ("feature", 0), 6))),
        (args, changed(state, "nodes", changed(nodes, ("feature", 0), -2))),
        (args, changed(state, "values", state["values"][:-1])),
        (args, changed(state, "values", state["values"][:, :, 0])),
        (args, changed(state, "node_count", len(nodes) + 1)),
        (args, changed(state, "node_count", 1.0)),
        (args, changed(state, "max_depth", "3")),
        ((), state),
        (changed(args, 0, 0), state),
        (changed(args, 0, 1), state),
        (changed(args, 1, np.array([0])), state),
        (changed(args, 1, np.array([2])), state),
        (changed(args, 1, np.array([1, 1])), state),
        (changed(args, 1, None), state),
        (changed(args, 2, 5), state),
        (changed(args, 2, 0), state),
    ]
    for sizes, damage in damages:
        with pytest.raises((TypeError, ValueError)):
            rebuilt(name, sizes, damage)


def test_compiled_structures_cannot_be_changed_by_a_pickle(knn: Any) -> None:
    # The structure alone is refused when saved; as an attribute it comes wrapped, and the wrapper refuses.
    with pytest.raises(UnsupportedModel, match="only kept as an attribute"):
        pack("{}", {"m": knn.tree_})
    metric = call(REBUILD, "native", text("sklearn.metrics._dist_metrics:EuclideanDistance64"), *EUCLIDEAN)
    assert type(loads(program(metric))) is compiled.Compiled
    for state in (b"]", b"}", b"(t", b"N}" + text("structure") + b"Ns\x86"):
        with pytest.raises(BadBundle, match="opcode b'b' is not on the allow-list"):
            loads(program(metric + state + b"b"))
    # Whoever got past that would meet the wrapper itself.
    with pytest.raises(NotAllowed, match="not changed"):
        compiled.Compiled(mahalanobis(3)).__setstate__((None, {"structure": None}))


def test_every_beginning_of_a_bundle_is_refused() -> None:
    raw = dumps({"m": [np.arange(3.0), np.float64(1), "x"]})
    loads(raw)
    for length in range(len(raw)):
        with pytest.raises(BadBundle):
            loads(raw[:length])


DEEP = 1_000_000
CRASHES = {
    "a table of 4 billion entries": b"Nr" + struct.pack("<I", 2**32 - 1),
    "another one": b"\x8c\x01ar" + struct.pack("<I", 2**31),
    "tuples to hash": b"})" + b"\x85" * DEEP + b"Ns",
    "tuples of pairs to hash": b"}" + b")" * DEEP + b"\x86" * (DEEP - 1) + b"Ns",
    "tuples to a mark to hash": b"}" + b"(" * DEEP + b"N" + b"t" * DEEP + b"Ns",
    "frozen sets to hash": b"}" + b"(" * DEEP + b"N" + b"\x91" * DEEP + b"Ns",
    "lists": b"]" * DEEP + b"a" * (DEEP - 1),
    "tuples of what is remembered": b"N" + b"\x85\x940h\x00" * 1 + b"\x85" * DEEP,
    "a text as long as a disk": b"\x8d" + struct.pack("<Q", 2**62) + b"x",
    "bytes as long as a disk": b"\x96" + struct.pack("<Q", 2**44) + b"x",
}


@pytest.mark.parametrize("raw", CRASHES.values(), ids=CRASHES)
def test_what_would_end_the_process_is_refused(raw: bytes) -> None:
    """In a process of its own: each of these takes all of the memory, or the stack, of an ordinary unpickler."""
    source = (
        "import resource, sys\n"
        "from anomstack_provider.artifacts.errors import BadBundle\n"
        "from anomstack_provider.artifacts.serialization import loads\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    loads(sys.stdin.buffer.read())\nexcept BadBundle as refused:\n    print(refused)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", source], input=program(raw), capture_output=True, check=True)
    said, more = done.stdout.decode().splitlines()
    assert "content is refused" in said
    assert int(more) < 100_000  # KiB


def test_what_is_deep_and_not_too_deep_is_kept() -> None:
    value: Any = ("x",)
    for _ in range(opcodes.DEEPEST - 2):
        value = (value,)
    assert loads(dumps({"m": value})) == {"m": value}
    with pytest.raises(BadBundle, match="more than 200 deep"):
        loads(dumps({"m": ((value,),)}))


@pytest.mark.parametrize("value", [[], {1: 2}, None, {"fine": 1, b"not": 2}])
def test_models_are_a_dict_by_name(value: object, store: ModelStore, key: ModelKey, plant: Planter) -> None:
    plant(dumps(value))
    with pytest.raises(ModelRefused, match="models by metric name"):
        store.load(key)


def test_a_bomb_is_not_unpacked(store: ModelStore, key: ModelKey, plant: Planter) -> None:
    zeros = pickled({"m": b"\0" * 300_000_000})
    plant(zeros, raw_size=1000)
    del zeros
    tracemalloc.start()
    with pytest.raises(ModelRefused, match="does not decompress to the 1000 bytes"):
        store.load(key)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("claimed", [0, -1, 2**40, 10**30])
def test_a_claim_beyond_the_limit_is_refused(claimed: int, store: ModelStore, key: ModelKey, plant: Planter) -> None:
    plant(dumps({}), raw_size=claimed)
    with pytest.raises(ModelRefused, match=r"claims .* bytes"):
        store.load(key)


@pytest.mark.parametrize("more", [-1, 1])
def test_another_raw_size_is_refused(more: int, store: ModelStore, key: ModelKey, plant: Planter) -> None:
    raw = dumps({"m": 1})
    plant(raw, raw_size=len(raw) + more)
    with pytest.raises(ModelRefused, match="does not decompress"):
        store.load(key)
