"""Precedence: which of several values of a key holds, whatever the places that set it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from anomstack_provider.config.layers import Layer, batch_variables, merge, variable_name
from anomstack_provider.config.loader import load_batches

# Every place that can set `owner`, weakest first; `model_path` can be set by one more variable.
PLACES = ["site", "folder", "batch", "global", "own"]


def load_from(values: dict[str, dict[str, Any]], name: str = "sales") -> Any:
    """Write what each place says to disk and environment, and return the loaded batch."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        if "folder" in values:
            (root / "defaults").mkdir()
            (root / "defaults/defaults.yaml").write_text(yaml.safe_dump(values["folder"]))
        batch = {"metric_batch": name, "ingest_sql": "select 1", **values.get("batch", {})}
        (root / "a.yaml").write_text(yaml.safe_dump(batch))
        environ = {f"ANOMSTACK_{key.upper()}": str(value) for key, value in values.get("global", {}).items()}
        environ |= {
            f"ANOMSTACK__{variable_name(name)}__{key.upper()}": str(value)
            for key, value in values.get("own", {}).items()
        }
        loaded = load_batches(root, environ=environ, site_defaults=values.get("site"))
    assert loaded.errors == []
    return loaded.batches[name]


@given(st.sets(st.sampled_from(PLACES)))
def test_the_strongest_place_holds(places: set[str]):
    loaded = load_from({place: {"model_path": f"file:///{place}"} for place in places})
    strongest = max(places, key=PLACES.index, default=None)
    assert loaded.spec.model_path == ("local://./models" if strongest is None else f"file:///{strongest}")
    assert (
        str(loaded.source("model_path"))
        == {
            None: "default of the package",
            "site": "section [anomstack] of the Airflow config",
            "folder": "defaults/defaults.yaml:1",
            "batch": "a.yaml:3",
            "global": "environment variable ANOMSTACK_MODEL_PATH",
            "own": "environment variable ANOMSTACK__SALES__MODEL_PATH",
        }[strongest]
    )


@given(st.sets(st.sampled_from(PLACES)))
def test_a_batchs_own_table_beats_the_variable_for_all(places: set[str]):
    order = ["site", "folder", "global", "batch", "own"]
    loaded = load_from({place: {"table_key": place} for place in places})
    assert loaded.spec.table_key == max(places, key=order.index, default="metrics")


@given(
    st.dictionaries(
        st.sampled_from(["site", "folder", "batch", "own"]),
        st.dictionaries(st.sampled_from(["shards", "retries", "score_max_n", "alert_snooze_n"]), st.integers(1, 9)),
    )
)
def test_each_key_is_decided_on_its_own(values: dict[str, dict[str, int]]):
    loaded = load_from(values)
    for key in ["shards", "retries", "score_max_n", "alert_snooze_n"]:
        expected = type(loaded.spec).model_fields[key].default
        for place in PLACES:
            expected = values.get(place, {}).get(key, expected)
        assert getattr(loaded.spec, key) == expected
        assert (key in loaded.provenance) == any(key in given for given in values.values())


def test_a_mapping_is_replaced_not_merged():
    loaded = load_from(
        {
            "folder": {"preprocess_params": {"lags_n": 9, "smooth_n": 9}},
            "batch": {"preprocess_params": {"lags_n": 7}},
        }
    )
    assert (loaded.spec.preprocess_params.lags_n, loaded.spec.preprocess_params.smooth_n) == (7, 3)


@pytest.mark.parametrize(
    ("weaker", "stronger", "cron"),
    [
        ({"ingest_cron_schedule": "@hourly"}, {"schedule": "@daily"}, "0 0 * * *"),
        ({"schedule": "@hourly"}, {"ingest_cron_schedule": "@daily"}, "0 0 * * *"),
        ({"schedule": "@hourly"}, {"ingest_cron_schedule": "@daily", "schedule": None}, "0 0 * * *"),
    ],
)
def test_a_stronger_place_may_use_the_other_name_of_the_schedule(
    weaker: dict[str, Any], stronger: dict[str, Any], cron: str
):
    assert load_from({"folder": weaker, "batch": stronger}).spec.cron == cron


def test_a_stronger_place_may_ingest_in_the_other_way():
    loaded = load_from({"folder": {"ingest_fn": "def ingest(): ..."}})
    assert (loaded.spec.ingest_sql, loaded.spec.ingest_fn) == ("select 1", None)


def test_another_spelling_in_a_stronger_place_holds():
    assert (
        load_from({"folder": {"disable_alert": True}, "batch": {"disable_alerts": False}}).spec.disable_alert is False
    )


def test_variables_take_the_type_of_their_key():
    loaded = load_from(
        {
            "own": {
                "disable_train": "false",
                "shards": "5",
                "alert_threshold": "0.9",
                "alert_methods": "email",
                "email_to": "",
                "tags": '["a, b", c]',
                "conn_id": "",
                "completeness_delay": "90m",
                "ingest_cron_schedule": "*/30 * * * *",
                "preprocess_params": "{lags_n: 2}",
                "model_configs": "[{model_name: ECOD}]",
                "metric_tags": '{"m": {"team": "x"}}',
                "tholdalert_thresholds": "m: {upper: 3}",
                "owner": "007",
            }
        }
    ).spec
    assert loaded.disable_train is False
    assert loaded.shards == 5
    assert loaded.alert_threshold == 0.9
    assert loaded.alert_methods == ("email",)
    assert loaded.email_to == ()
    assert loaded.tags == ("a, b", "c")
    assert loaded.conn_id is None
    assert loaded.completeness_delay.total_seconds() == 5400
    assert loaded.cron == "*/30 * * * *"
    assert loaded.preprocess_params.lags_n == 2
    assert loaded.model_configs[0].model_name == "ECOD"
    assert loaded.metric_tags == {"m": {"team": "x"}}
    assert loaded.tholdalert_thresholds["m"].upper == 3
    assert loaded.owner == "007"


def test_site_defaults_take_the_type_of_their_key_and_none_is_not_set():
    loaded = load_from({"site": {"shards": "3", "email_to": "a@x.org,b@x.org", "conn_id": None, "retries": 0}})
    assert (loaded.spec.shards, loaded.spec.email_to, loaded.spec.retries) == (3, ("a@x.org", "b@x.org"), 0)
    assert "conn_id" not in loaded.provenance


def test_a_blank_variable_for_all_batches_is_not_set():
    assert load_from({"global": {"table_key": " ", "model_path": ""}}).spec.table_key == "metrics"


@pytest.mark.parametrize(
    ("name", "variable"),
    [("sales", "SALES"), ("a-b", "A_B"), ("a b/c", "A_B_C"), ("straße", "STRASSE"), ("a__b", "A__B")],
)
def test_a_batchs_name_in_variables(name: str, variable: str):
    assert variable_name(name) == variable
    assert load_from({"own": {"shards": 7}}, name).spec.shards == 7


def test_a_variable_belongs_to_the_longest_name_it_fits():
    environ = {
        "ANOMSTACK__A__B__SHARDS": "1",
        "ANOMSTACK__A__SHARDS": "2",
        "ANOMSTACK__C__SHARDS": "3",
        "OTHER": "4",
    }
    assert batch_variables(environ, ["a", "a__b"]) == (
        {"A__B": {"ANOMSTACK__A__B__SHARDS": "shards"}, "A": {"ANOMSTACK__A__SHARDS": "shards"}},
        ["ANOMSTACK__C__SHARDS"],
    )


LAYERS = st.lists(
    st.dictionaries(st.sampled_from(["a", "schedule", "ingest_cron_schedule"]), st.none() | st.integers(0, 3)),
    max_size=5,
)


@given(LAYERS)
def test_merging_is_last_one_wins_but_for_two_names_of_one_setting(values: list[dict[str, Any]]):
    layers = [Layer("batch", str(number), given) for number, given in enumerate(values)]
    merged = merge(layers)
    assert set(merged.values) == set(merged.layers)
    if any("a" in given for given in values):
        assert merged.values["a"] == [given["a"] for given in values if "a" in given][-1]
    named = [key for key in ("schedule", "ingest_cron_schedule") if merged.values.get(key) is not None]
    if len(named) == 2:
        # Both hold only if the strongest place that sets either sets both.
        assert merged.layers["schedule"] is merged.layers["ingest_cron_schedule"]
