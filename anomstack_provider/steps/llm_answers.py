"""
Stored answers of a language model: one row per bucket that it was asked about, whether it named the bucket or not.

An answer cannot be worked out again, so it is written once and read by every later run, replay and preview.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from anomstack_provider.alerting.findings import DOWN, UP, Findings
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.detection.series import Floats, Times, split_columns
from anomstack_provider.steps.finders import Buckets
from anomstack_provider.steps.ports import COLUMNS

# Rows of alerts have the type llmalert, as those of thresholds have tholdalert.
ANSWER = "llmanswer"


def answer_rows(name: str, times: Times, said: Sequence[str | None], facts: Mapping[str, Any]) -> pd.DataFrame:
    """
    Return the rows of one answer: value 1 for a bucket that it names, 0 for one that it does not.

    :param said: the explanation of each bucket, None where it was not named.
    :param facts: further metadata of all of them: model, tokens, as of when it was asked.
    """
    return pd.DataFrame(
        {
            "metric_name": name,
            "metric_type": ANSWER,
            "metric_timestamp": times,
            "metric_value": [float(text is not None) for text in said],
            "metadata": [json.dumps({**facts, **({} if text is None else {"explanation": text})}) for text in said],
        }
    )[COLUMNS]


def split_answers(frame: pd.DataFrame) -> dict[str, tuple[Times, NDArray[np.object_]]]:
    """Return by metric the buckets that were named, with the metadata of their rows."""
    own = frame[(frame["metric_type"] == ANSWER) & (frame["metric_value"] > 0)]
    return {name: (times, texts) for name, (times, texts) in split_columns(own, "metadata").items()}


def named_buckets(
    spec: BatchSpec,
    buckets: Buckets,
    answers: tuple[Times, NDArray[np.object_]],
    judged: Mapping[str, Floats],
) -> Findings:
    """
    Return the buckets that a language model named.

    :param answers: as :func:`split_answers` returns them for the metric.
    :param judged: expected, lower and upper of the buckets in question, NaN where they have no score.
    """
    times, texts = answers
    at = np.flatnonzero(np.isin(buckets.times, times))
    told = [_told(texts[k]) for k in np.searchsorted(times, buckets.times[at])]
    values = buckets.series.values[buckets.first :][at]
    expected = judged["expected"][at]
    # The side that an anomaly by score would have; without a score that of the median of what the model saw.
    usual = np.where(np.isnan(expected), [one.get("median", np.nan) for one in told], expected)
    return Findings.of(
        "llm",
        buckets.times[at],
        np.where(values < usual, DOWN, UP).astype(np.int8),
        why=[(f"A language model ({one.get('model', 'unknown')}) named it",) for one in told],
        grain=buckets.grain[at],
        says=np.array([str(one.get("explanation", "")) for one in told], object),
        value=values,
        expected=expected,
        lower=judged["lower"][at],
        upper=judged["upper"][at],
    )


def _told(text: object) -> dict[str, Any]:
    """Return the metadata of an answer, nothing of another tool's row."""
    try:
        told = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
