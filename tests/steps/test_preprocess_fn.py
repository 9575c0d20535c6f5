"""A batch's own ``preprocess_fn``: what it sees, what it may return, and that no later point moves a score."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anomstack_provider.config.cautions import cautions
from anomstack_provider.runtime.window import RunWindow
from anomstack_provider.steps.overlay import MemoryRows, NoModels
from anomstack_provider.steps.preview import preview
from anomstack_provider.steps.score import score
from anomstack_provider.steps.train import train
from tests.steps.conftest import at, noise

WINDOW = RunWindow(at("2024-02-28"), at("2024-03-05"))
KNN = [{"model_name": "KNN"}]
# Anomstack's recipe, as a person would write it with pandas.
RECIPE = """
import pandas as pd
from dagster import get_dagster_logger

def lagged(x, n):
    return pd.concat({f"lag_{k}": x.shift(k) for k in range(n + 1)}, axis=1)

def preprocess(frame, diff_n=1, smooth_n=3, lags_n=5, freq=None, freq_agg="mean", shuffle=False):
    get_dagster_logger().debug("called")
    assert freq is None
    x = frame.sort_values("metric_timestamp").set_index("metric_timestamp")["metric_value"]
    return lagged(x.diff(diff_n).rolling(smooth_n).mean(), lags_n).dropna()

if __name__ == "__main__":
    raise SystemExit("run by hand")
"""


def scored(rig: Callable[..., Any], days: int = 70, **keys: Any) -> dict[tuple[str, str], str]:
    """Scores of the window, numbers as the text of their bits."""
    one = rig(model_configs=KNN, **keys)
    one.put("m", noise(days))
    result = score(one.spec, WINDOW, one.store, one.models)
    assert result.outcomes == {"m": "scored"}, result.outcomes
    found = one.rows("score").itertuples()
    return {(r.metric_name, str(r.metric_timestamp)): r.metric_value.hex() for r in found}


def failure(rig: Callable[..., Any], text: str, step: Callable[..., Any] = train, **keys: Any) -> str:
    one = rig(model_configs=KNN, preprocess_fn=text, **keys)
    one.put("m/1 'x'", noise(70))
    one.put("other", noise(70, 1))
    return step(one.spec, WINDOW, one.store, one.models).outcomes["m/1 'x'"]


def test_the_recipe_as_a_function_is_the_recipe(rig: Callable[..., Any]):
    plain = scored(rig)
    own = scored(rig, preprocess_fn=RECIPE)
    assert own.keys() == plain.keys()
    values = [[float.fromhex(found[key]) for key in plain] for found in (plain, own)]
    assert np.allclose(*values, atol=1e-3)
    assert "dagster" not in sys.modules


def test_no_later_point_moves_a_score(rig: Callable[..., Any]):
    """Everything that the function does over the whole frame, it does over what was known in the bucket."""
    text = """
def preprocess(df, **params):
    x = df.set_index("metric_timestamp")[["metric_value"]]
    return ((x - x.mean()) / x.std()).assign(rank=x["metric_value"].rank(pct=True))[3:]
"""
    early = scored(rig, days=63, preprocess_fn=text)
    late = scored(rig, days=70, preprocess_fn=text)
    assert len(set(early.values())) > 5
    assert early.items() <= late.items()


def test_a_score_sees_as_many_points_as_score_max_n_says(rig: Callable[..., Any], tmp_path: Path):
    text = f"""
from pathlib import Path
seen = Path({str(tmp_path / "seen")!r})
def preprocess(df, lags_n, *, diff_n=1):
    assert list(df) == ["metric_timestamp", "metric_batch", "metric_name", "metric_value"]
    with seen.open("a") as file:
        file.write(f"{{len(df)}} {{df['metric_timestamp'].max()}} {{lags_n}}\\n")
    return df.set_index("metric_timestamp")[["metric_value"]]
"""
    one = rig(model_configs=KNN, preprocess_fn=text, score_max_n=6, preprocess_params={"lags_n": 7})
    one.put("m", noise(70))
    day = RunWindow(at("2024-03-01"), at("2024-03-02"))
    train(one.spec, day, one.store, one.models)
    score(one.spec, day, one.store, one.models)
    calls = (tmp_path / "seen").read_text().splitlines()
    of_scores = [call for call in calls if call.startswith("6 ")]
    assert calls[0] == "60 2024-02-29 00:00:00 7"
    assert of_scores[-1] == "6 2024-03-01 00:00:00 7"
    assert all(int(call.split()[0]) >= 50 for call in calls if call not in of_scores), "the others train"


def test_the_text_is_run_once_in_a_process(rig: Callable[..., Any], tmp_path: Path):
    text = f"""
with open({str(tmp_path / "ran")!r}, "a") as file:
    file.write("x")
def preprocess(df):
    return df.set_index("metric_timestamp")[["metric_value"]]
"""
    one = rig(model_configs=KNN, preprocess_fn=text)
    for number in range(5):
        one.put(f"m{number}", noise(70, number))
    train(one.spec, WINDOW, one.store, one.models)
    score(one.spec, WINDOW, one.store, one.models)
    assert (tmp_path / "ran").read_text() == "x"


def test_in_processes_of_their_own_it_is_the_same(rig: Callable[..., Any]):
    assert scored(rig, preprocess_fn=RECIPE, train_n_jobs=2) == scored(rig, preprocess_fn=RECIPE)


def test_a_preview_is_what_runs_give(rig: Callable[..., Any]):
    one = rig(model_configs=KNN, preprocess_fn=RECIPE)
    one.put("m", noise(70))
    rows = MemoryRows()
    rows.replace(one.rows("metric"))
    expected = preview(one.spec, WINDOW, rows).scores.set_index("metric_timestamp")["score"]
    for day in range(6):
        start = f"2024-02-{28 + day}" if day < 2 else f"2024-03-0{day - 1}"
        end = "2024-02-29" if day == 0 else f"2024-03-0{day}"
        score(one.spec, RunWindow(at(start), at(end)), one.store, NoModels())
    found = one.rows("score").set_index("metric_timestamp")["metric_value"]
    assert len(expected.dropna()) == 6
    assert found.reindex(expected.index).tolist() == expected.tolist()


def test_other_text_is_another_model(rig: Callable[..., Any], tmp_path: Path):
    spec = rig(preprocess_fn=RECIPE).spec
    assert spec.recipe == "anomstack"
    assert rig(preprocess_fn=RECIPE + "# more").spec.config_hash() != spec.config_hash()
    (tmp_path / "own.py").write_text(RECIPE)
    included = rig(preprocess_fn="{% include './own.py' %}").spec.placed(str(tmp_path), {})
    assert included.render("preprocess_fn") == RECIPE
    before = included.config_hash()
    (tmp_path / "own.py").write_text(RECIPE + "# more")
    assert included.config_hash() != before


def test_anomstack_s_own_text_is_built_in(rig: Callable[..., Any]):
    own = '{% include "./defaults/python/preprocess.py" %}'
    assert scored(rig, preprocess_fn=own) == scored(rig, recipe="anomstack")


def test_another_recipe_does_not_ask_it(rig: Callable[..., Any]):
    spec = rig(preprocess_fn="no python", recipe="seasonal").spec
    assert ("preprocess_fn", "no effect with recipe seasonal") in cautions(spec)
    assert failure(rig, "no python", recipe="seasonal").startswith("trained")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 1", "preprocess() returned int, not a pandas DataFrame"),
        ("x = 0\n    return 1 / x", "line 5: ZeroDivisionError: division by zero"),
        ("return df[['metric_value']]", "preprocess() returned rows whose index is not metric_timestamp"),
        ("return kept(df).shift(freq='1h')", "preprocess() returned a row for 2024-0"),
        ("return __import__('pandas').concat([kept(df), kept(df)])", "preprocess() returned two rows for one metric"),
        ("return kept(df).assign(x='a')", "preprocess() returned a column that is not of numbers"),
        ("return kept(df).shift(1)", "preprocess() returned nan in column 'metric_value' for 2024-0"),
        ("return kept(df) / 0", "preprocess() returned inf in column 'metric_value' for 2024-0"),
        ("return kept(df)[[]]", "preprocess() returned no column"),
        ("return kept(df)[:0]", "preprocess_fn makes no row of "),
    ],
)
def test_what_it_may_not_return_is_named(rig: Callable[..., Any], body: str, said: str):
    text = (
        "def kept(df): return df.set_index('metric_timestamp')[['metric_value']]\n\ndef preprocess(df, **rest):\n    "
    )
    found = failure(rig, text + body)
    assert found.startswith("failed: ")
    assert said in found
    if "preprocess()" in said or "line" in said:
        assert "b: preprocess_fn: metric \"m/1 'x'\": " in found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def preprocess(df:\n", "b: preprocess_fn: metric \"m/1 'x'\": line 1: SyntaxError: "),
        ("def process(df): ...", "b: preprocess_fn: metric \"m/1 'x'\": the text defines no function preprocess()"),
        ("import no_such_module", "b: preprocess_fn: metric \"m/1 'x'\": line 1: ModuleNotFoundError: "),
        (
            "def preprocess(df, window): ...",
            "preprocess() needs a value for 'window'; give it a default, or use one of",
        ),
    ],
)
def test_a_text_that_defines_nothing_is_named(rig: Callable[..., Any], text: str, said: str):
    assert said in failure(rig, text)


def test_a_function_that_looks_ahead_has_no_row_for_the_bucket(rig: Callable[..., Any]):
    text = "def preprocess(df):\n    return df.set_index('metric_timestamp')[['metric_value']].shift(-1).dropna()"
    assert failure(rig, text) == "trained"
    assert (
        "metric \"m/1 'x'\": preprocess() returned no row for 2024-02-20T00:00:00.000000, the newest of 25 points; "
        "it sees as many as score_max_n says, and none after the bucket"
    ) in failure(rig, text, score)


def test_other_columns_than_trained_are_refused(rig: Callable[..., Any]):
    text = """
def preprocess(df):
    x = df.set_index("metric_timestamp")[["metric_value"]]
    return x.assign(**{"long" if len(x) > 25 else "short": 1.0})
"""
    assert "returned the columns ['metric_value', 'short'], trained were ['metric_value', 'long']" in failure(
        rig, text, score
    )
