"""
The Numenta Anomaly Benchmark (Lavin & Ahmad 2015; github.com/numenta/NAB), read from a checkout that the user names.

Nothing of it is kept here. Its labels become those of the yardstick: windows are events, and the probation, the first
15 % of a file but at most 750 points, is not judged.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from benchmarks.detection.dataset import Dataset, Label, tidy

_PROBATION = 0.15
_LONGEST_PROBATION = 750
# A score counts for NAB when it beats those of the 200 points before it, so these are scored too.
_WARM_UP = 200


def read(root: Path) -> Dataset:
    """
    Read every file that has windows.

    :param root: a checkout, with ``data/`` and ``labels/combined_windows.json``, or a folder that holds
        ``combined_windows.json`` beside the folders of the series.
    :raises FileNotFoundError: neither is there, or a file of the windows is missing.
    """
    checkout = root / "labels" / "combined_windows.json"
    windows_file = checkout if checkout.exists() else root / "combined_windows.json"
    data = root / "data" if checkout.exists() else root
    if not windows_file.exists():
        raise FileNotFoundError(f"{root} holds no combined_windows.json and no labels/combined_windows.json")
    frames, labels = [], {}
    for name, windows in json.loads(windows_file.read_text()).items():
        frame = pd.read_csv(data / name, parse_dates=["timestamp"])
        labels[name] = _label(name, frame, windows)
        frames.append(frame.assign(series=name))
    return Dataset("nab", tidy(pd.concat(frames, ignore_index=True)), labels, warm_up=_WARM_UP)


def _label(name: str, frame: pd.DataFrame, windows: list[list[str]]) -> Label:
    times = frame["timestamp"]
    probation = min(int(_PROBATION * len(frame)), _LONGEST_PROBATION)
    return {
        "step_s": float(times.diff().dt.total_seconds().median()),
        "score_from": times.iloc[probation].isoformat(),
        "family": name.partition("/")[0],
        "events": [[*(pd.Timestamp(moment).isoformat() for moment in window), "nab"] for window in windows],
        "ignore": [],
    }
