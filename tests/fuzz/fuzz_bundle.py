"""
The bundle reader under a fuzzer that follows its branches: ``python tests/fuzz/fuzz_bundle.py -max_total_time=300``.

The first byte of an input says what the others are: a manifest, a bundle, or the pickle in a bundle, which no mutation
would get to through zlib. Whatever they hold: reading them gives models or ``BadBundle``, runs nothing, and takes no
more memory than the fuzzer grants it. Arguments are those of libFuzzer.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
import zlib
from datetime import UTC, datetime
from pathlib import Path

import atheris
import numpy as np
from pyod.models.knn import KNN
from pyod.models.pca import PCA
from sklearn.tree import ExtraTreeRegressor

with atheris.instrument_imports(include=["anomstack_provider.artifacts"]):
    from anomstack_provider.artifacts import manifest, rebuild, serialization
    from anomstack_provider.artifacts.errors import BadBundle
    from anomstack_provider.artifacts.key import ModelKey

KEY = ModelKey("flights", datetime(2013, 2, 8, tzinfo=UTC), "0123abcd-r1")
MANIFEST, BUNDLE, PICKLE = b"mbp"
# Megabytes of the process, and of one allocation: far more than it takes, far less than what would hurt.
LIMITS = ["-rss_limit_mb=1500", "-malloc_limit_mb=1000"]


class Broken(AssertionError):
    """The reader broke its promise."""


def refuse_events(event: str, arguments: tuple[object, ...]) -> None:
    """Stop whoever starts a program, opens a file to write or compiles text while a bundle is read."""
    if not reading:
        return
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if writes or event in ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "socket.connect", "compile"):
        raise SystemExit(f"a bundle made an event {event} {arguments!r:.300}")


reading = False


def check(content: bytes) -> None:
    """Read one input and look at the answer."""
    global reading
    kind, body = content[:1], content[1:]
    reading = True
    try:
        if kind == bytes([MANIFEST]):
            found = manifest.Manifest.from_json(body, KEY)
            if manifest.Manifest.from_json(found.to_json().encode(), KEY) != found:
                raise Broken("a manifest that is not what it says")
        elif kind == bytes([BUNDLE]):
            serialization.unpack(body, KEY.label, 1000)
        else:
            serialization.loads(body)
    except BadBundle as refused:
        if not str(refused):
            raise Broken("a refusal without a reason") from refused
    finally:
        reading = False
    if rebuild.make.name != "make":
        raise Broken("a bundle has changed what rebuilds it")


def seeds(folder: Path) -> None:
    """Write real bundles, as inputs to begin with."""
    rows = np.random.default_rng(1).normal(size=(20, 2))
    models = {
        "knn": KNN(n_neighbors=2).fit(rows),
        "pca": PCA().fit(rows),
        "tree": ExtraTreeRegressor(random_state=0, max_depth=2).fit(rows, rows[:, 0]),
        "plain": {"x": [1, 2.5, None, True, (1, 2, 3, 4), {"a"}, frozenset({"b"}), b"c", 10**20, -5, "ü"]},
    }
    for name, model in models.items():
        raw = serialization.dumps({name: model})
        data, size = serialization.pack(KEY.label, {name: model})
        about = manifest.Manifest(
            KEY, manifest.object_name("0" * 64), "0" * 64, len(data), size, manifest.versions(), {}
        )
        (folder / f"{name}-pickle").write_bytes(b"p" + raw)
        (folder / f"{name}-bundle").write_bytes(b"b" + data)
        (folder / f"{name}-manifest").write_bytes(b"m" + about.to_json().encode())
    head = data[: data.rindex(b"\n") + 1]
    (folder / "small-bundle").write_bytes(b"b" + head + zlib.compress(serialization.dumps({"m": b"0" * 980})))


def main() -> None:
    sys.addaudithook(refuse_events)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as directory:
        corpus = Path(directory)
        seeds(corpus)
        for path in sorted(corpus.iterdir()):  # what is imported when it is first needed
            check(path.read_bytes())
        atheris.Setup([sys.argv[0], "-max_len=8192", *LIMITS, *sys.argv[1:], directory], check)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
