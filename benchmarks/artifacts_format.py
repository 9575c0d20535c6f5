"""
Compare ways to store fitted models: this package's bundles, skops, and a plain pickle as the floor.

    python benchmarks/artifacts_format.py [--models 1000] [--iforests 10] [--rows 2000]

Fits the models of as many metrics as asked for (a PCA and a KNN each, some with an IForest), saves and loads
them in each format, and prints CPU seconds and bytes, also relative to this package's bundles in one run.
Needs ``skops`` beside the package; nothing is written to disk.
"""

from __future__ import annotations

import argparse
import pickle
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from anomstack_provider.artifacts.serialization import dumps, loads, pack, unpack

FEATURES = 6


@dataclass(frozen=True)
class Measured:
    """One format's best of all rounds: CPU seconds and bytes."""

    name: str
    save: float
    load: float
    size: int


def fit(models: int, iforests: int, rows: int) -> dict[str, object]:
    """Return fitted detectors; each sees ``rows`` x 6 lagged differences of a random walk."""
    from pyod.models.iforest import IForest
    from pyod.models.knn import KNN
    from pyod.models.pca import PCA

    random = np.random.default_rng(20130208)
    fitted: dict[str, object] = {}
    for number in range(models):
        walk = np.cumsum(random.normal(size=rows + FEATURES)).round(4)
        lags = np.lib.stride_tricks.sliding_window_view(np.diff(walk), FEATURES)[:rows]
        fitted[f"pca {number}"] = PCA(contamination=0.01, random_state=1).fit(lags)
        fitted[f"knn {number}"] = KNN(contamination=0.01).fit(lags)
        if number < iforests:
            fitted[f"iforest {number}"] = IForest(contamination=0.01, random_state=1).fit(lags)
    return fitted


def formats(fitted: dict[str, object]) -> dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]]:
    """Return the ways to save and to load, by name; the first is ours."""
    import skops.io

    # What skops does not know by itself, found once: its own scan would be counted as loading otherwise.
    sample = {name: fitted[name] for name in list(fitted)[:3]}
    trusted = skops.io.get_untrusted_types(data=skops.io.dumps(sample))
    deflated = {"compression": zipfile.ZIP_DEFLATED, "compresslevel": 1}

    def packed(level: int) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
        return lambda: zlib.compress(dumps(fitted), level), lambda data: loads(zlib.decompress(data))

    return {
        "bundle (zlib 1)": (
            lambda: pack("benchmark", fitted),
            lambda made: unpack(made[0], "benchmark", made[1]),
        ),
        "bundle, not compressed": (lambda: dumps(fitted), loads),
        "bundle, zlib 6": packed(6),
        "skops": (lambda: skops.io.dumps(fitted), lambda data: skops.io.loads(data, trusted=trusted)),
        "skops, deflated 1": (
            lambda: skops.io.dumps(fitted, **deflated),
            lambda data: skops.io.loads(data, trusted=trusted),
        ),
        "plain pickle (unsafe)": (lambda: pickle.dumps(fitted, protocol=5), pickle.loads),
    }


def measure(name: str, save: Callable[[], Any], load: Callable[[Any], Any], rounds: int) -> Measured:
    """Return the best of ``rounds``."""
    saved: list[float] = []
    loaded: list[float] = []
    for _ in range(rounds):
        start = time.process_time()
        data = save()
        middle = time.process_time()
        load(data)
        saved.append(middle - start)
        loaded.append(time.process_time() - middle)
    return Measured(name, min(saved), min(loaded), len(data[0] if isinstance(data, tuple) else data))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=1000, help="metrics, each with a PCA and a KNN (%(default)s)")
    parser.add_argument("--iforests", type=int, default=10, help="of them also with an IForest (%(default)s)")
    parser.add_argument("--rows", type=int, default=2000, help="rows that each model is fitted on (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many is taken (%(default)s)")
    options = parser.parse_args()

    start = time.process_time()
    fitted = fit(options.models, options.iforests, options.rows)
    fitting = time.process_time() - start
    print(f"{len(fitted)} models fitted on {options.rows} x {FEATURES} in {fitting:.1f} CPU s\n")
    results = [measure(name, *ways, options.rounds) for name, ways in formats(fitted).items()]
    ours = results[0]
    print(f"{'':24}{'save s':>9}{'load s':>9}{'MB':>9}{'save x':>9}{'load x':>9}{'size x':>9}")
    for one in results:
        ratios = (one.save / ours.save, one.load / ours.load, one.size / ours.size)
        absolute = f"{one.save:9.2f}{one.load:9.2f}{one.size / 1e6:9.1f}"
        print(f"{one.name:24}{absolute}" + "".join(f"{ratio:9.2f}" for ratio in ratios))
    print(f"\nSaving our bundle takes {ours.save / fitting:.3f} of the time that fitting took.")


if __name__ == "__main__":
    main()
