"""The spec: defaults, types, rules between keys, and the hash that names a model."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from anomstack_provider.config.cautions import cautions
from anomstack_provider.config.gates import Gates
from anomstack_provider.config.keys import SECTIONS
from anomstack_provider.config.spec import LIST_KEYS, TEXT_KEYS, BatchSpec, check

SMALLEST = {"metric_batch": "sales", "ingest_sql": "select 1"}


def spec(**keys: object) -> BatchSpec:
    return BatchSpec.model_validate({**SMALLEST, **keys})


def problems(**keys: object) -> list[tuple[str | None, str]]:
    found, wrong = check({**SMALLEST, **keys})
    assert found is None
    return [(problem.key, problem.message) for problem in wrong]


JOBS = ["ingest", "train", "score", "alert", "change", "llmalert", "plot", "delete", "summary"]
UPSTREAM_DEFAULTS: dict[str, Any] = {
    "db": "duckdb",
    "table_key": "metrics",
    "model_path": "local://./models",
    "model_combination_method": "mean",
    "train_max_n": 2500,
    "train_metric_timestamp_max_days_ago": 90,
    "train_min_n": 14,
    "score_max_n": 25,
    "score_metric_timestamp_max_days_ago": 14,
    "alert_methods": ("email", "slack"),
    "alert_always": False,
    "alert_metric_timestamp_max_days_ago": 45,
    "alert_recent_n": 1,
    "alert_max_n": 250,
    "alert_smooth_n": 3,
    "alert_snooze_n": 3,
    "alert_threshold": 0.8,
    "disable_tholdalert": True,
    "tholdalert_methods": ("email", "slack"),
    "tholdalert_recent_n": 1,
    "tholdalert_snooze_n": 3,
    "tholdalert_thresholds": {},
    "tholdalert_exclude_metrics": (),
    "change_metric_timestamp_max_days_ago": 45,
    "change_max_n": 250,
    "change_smooth_n": 1,
    "change_snooze_n": 3,
    "change_threshold": 3.5,
    "change_detect_last_n": 1,
    "change_include_metrics": (),
    "change_exclude_metrics": (),
    "llmalert_model": None,
    "llmalert_recent_n": 5,
    "llmalert_smooth_n": 0,
    "llmalert_metric_rounding": -1,
    "llmalert_metric_timestamp_max_days_ago": 30,
    "llmalert_prompt_max_n": 1000,
    "llmalert_include_plot": True,
    "llmalert_anomaly_agent_detection_prompt": None,
    "llmalert_anomaly_agent_system_prompt": None,
    "llmalert_anomaly_agent_verification_prompt": None,
    "ingest_cron_schedule": "*/3 * * * *",
    "train_cron_schedule": "*/5 * * * *",
    "score_cron_schedule": "*/4 * * * *",
    "alert_cron_schedule": "*/5 * * * *",
    "change_cron_schedule": "*/5 * * * *",
    "llmalert_cron_schedule": "*/5 * * * *",
    "plot_cron_schedule": "*/5 * * * *",
    "delete_cron_schedule": "0 6 * * *",
    "summary_cron_schedule": "0 9 * * *",
    **{f"{job}_default_schedule_status": None for job in JOBS},
    **{f"{name}_sql": None for name in ["train", "score", "alert", "change", "plot", "llmalert", "dashboard"]},
    **{key: None for key in ["delete_sql", "summary_sql", "ingest_sql", "ingest_fn", "preprocess_fn", "prompt_fn"]},
    **{f"disable_{job}": False for job in ["batch", "ingest", "train", "score", "alert", "change", "plot"]},
    **{f"disable_{job}": False for job in ["summary", "delete", "dashboard"]},
    "disable_alerts": None,
    "disable_llmalert": True,
    "ingest_metric_rounding": 4,
    "score_metric_rounding": 4,
    "summary_metric_timestamp_max_days_ago": 1,
    "dashboard_stale_metric_max_days_ago": 7,
    "delete_after_n_days": 365,
    **{f"{job}_exclude_metrics": () for job in ["train", "score", "alert"]},
    "metric_tags": {},
    "gcp_project_id": None,
}
OUR_DEFAULTS: dict[str, Any] = {
    "conn_id": None,
    "grain": None,
    "timezone": "UTC",
    "completeness_delay": timedelta(0),
    "train_n_jobs": 1,
    "schedule": None,
    "start_date": None,
    "catchup": False,
    "shards": 1,
    "owner": "airflow",
    "tags": (),
    "description": None,
    "history_start": None,
    "history_chunk": timedelta(days=30),
    "model_keep_versions": 10,
    "email_to": (),
    "smtp_conn_id": "smtp_default",
    "slack_conn_id": "slack_api_default",
    "slack_channel": None,
    "slack_webhook_conn_id": None,
    "notifiers": (),
    "routes": (),
    "budget_per_week": {},
    "digest_cron_schedule": "0 9 * * *",
    "quiet_hours": None,
    "delivery_attempts": 20,
    "llmalert_conn_id": "pydanticai_default",
    "llmalert_timeout": timedelta(minutes=1),
    "llmalert_run_timeout": timedelta(minutes=10),
    "llmalert_max_metrics": 50,
    "llmalert_prompt_max_chars": 100_000,
    "llmalert_answer_max_tokens": 4000,
    "notify_on_backfill": False,
    "retries": 1,
    "max_active_runs": 4,
    "holidays": (),
    "events": (),
    "false_alarms_per_month": 1.0,
    "merge_max_gap": timedelta(0),
    "renotify_pct": 50.0,
    "event_expires": timedelta(days=7),
    "notify_closed": True,
    "alert_gates": Gates(),
    "metric_settings": {},
    "freshness": "off",
}
ELSEWHERE = {"metric_batch", "model_configs", "preprocess_params"}


def test_every_key_of_the_contract_has_its_default_and_there_is_no_other():
    bare = BatchSpec(metric_batch="x", disable_ingest=True, recipe="anomstack")
    expected = {**UPSTREAM_DEFAULTS, **OUR_DEFAULTS, "disable_ingest": True, "recipe": "anomstack"}
    keys = {key for key in BatchSpec.model_fields if not key.startswith("prometheus_")}
    assert keys == set(expected) | ELSEWHERE
    assert {key: getattr(bare, key) for key in expected} == expected


def test_the_seasonal_recipe_has_defaults_of_its_own():
    bare = BatchSpec(metric_batch="x", disable_ingest=True)
    anomstack = BatchSpec(metric_batch="x", disable_ingest=True, recipe="anomstack")
    other = {key for key in BatchSpec.model_fields if getattr(bare, key) != getattr(anomstack, key)}
    assert {key: getattr(bare, key) for key in other} == {
        "recipe": "seasonal",
        "train_cron_schedule": "0 */12 * * *",
        "train_max_n": 5000,
        "train_metric_timestamp_max_days_ago": 730,
        "alert_threshold": None,
        "disable_change": True,
        "alert_smooth_n": 0,
        "merge_max_gap": timedelta(days=1),
        "freshness": "auto",
        "delete_after_n_days": 1095,
    }


def test_channels_that_are_not_there_are_named_wherever_they_are_mentioned():
    _, problems = check(
        {
            "metric_batch": "b",
            "ingest_sql": "select 1",
            "alert_methods": "email, pager",
            "tholdalert_methods": "slak",
            "routes": [{"channels": "pagers"}],
            "budget_per_week": {"sms": 3},
            "notifiers": [
                {"name": "pager", "class": "a.b.C"},
                {"name": "pager", "class": "a.b.C"},
                {"name": "slack", "class": "a.b.C"},
            ],
        }
    )
    assert [(problem.key, problem.message.partition(",")[0]) for problem in problems] == [
        ("notifiers[1].name", "'pager' is the name of another channel; give this one its own"),
        ("notifiers[2].name", "'slack' is the name of another channel; give this one its own"),
        ("tholdalert_methods", "there is no channel 'slak'"),
        ("routes[0].channels", "there is no channel 'pagers'"),
        ("budget_per_week.sms", "there is no channel 'sms'"),
    ]
    assert problems[2].message.endswith("did you mean 'slack'?")


@pytest.mark.parametrize(
    ("keys", "place", "message"),
    [
        ({"notifiers": [{"name": "P D", "class": "a.b"}]}, "notifiers[0].name", "small letters, digits"),
        ({"notifiers": [{"name": "pd", "class": "Notifier"}]}, "notifiers[0].class", "the dotted path of a class"),
        ({"notifiers": [{"name": "pd", "clas": "a.b", "class": "a.b"}]}, "notifiers[0].clas", "did you mean 'class'"),
        ({"quiet_hours": "22-7"}, "quiet_hours", "expected a time of day such as 22:00-07:00, got '22-7'"),
        ({"quiet_hours": "07:00-07:00"}, "quiet_hours", "expected a time of day"),
        ({"quiet_hours": "24:00-07:00"}, "quiet_hours", "expected a time of day"),
        ({"routes": [{"severity": "urgent"}]}, "routes[0].severity", "expected one of low, medium or high"),
        ({"routes": [{"kinds": "late, odd"}]}, "routes[0].kinds[1]", "expected one of anomaly, threshold"),
        ({"budget_per_week": {"email": -1}}, "budget_per_week.email", "expected 0 or more"),
        ({"delivery_attempts": 0}, "delivery_attempts", "expected 1 or more"),
    ],
)
def test_how_alerts_are_delivered_is_checked(keys, place, message):
    _, (problem,) = check({"metric_batch": "b", "ingest_sql": "select 1", **keys})
    assert problem.key == place
    assert message in problem.message


def test_a_route_tells_nobody_only_if_it_says_so():
    routes = spec(routes=[{"metrics": "a*, b", "kinds": "late"}, {"channels": None}, {"channels": []}]).routes
    assert [route.channels for route in routes] == [None, None, ()]
    assert (routes[0].metrics, routes[0].kinds) == (("a*", "b"), ("late",))


def test_a_budget_that_decides_nothing_is_said_to():
    assert [key for key, _ in cautions(spec(false_alarms_per_month=2))] == []
    assert [key for key, _ in cautions(spec(false_alarms_per_month=2, alert_threshold=0.9))] == [
        "false_alarms_per_month"
    ]
    assert [key for key, _ in cautions(spec(false_alarms_per_month=2, recipe="anomstack"))] == [
        "false_alarms_per_month"
    ]


@pytest.mark.parametrize(
    ("keys", "recipe"),
    [
        ({}, "seasonal"),
        ({"preprocess_params": {"freq": "1h", "freq_agg": "sum"}}, "seasonal"),
        ({"alert_threshold": 0.9, "train_max_n": 100}, "seasonal"),
        ({"model_configs": None}, "seasonal"),
        ({"model_configs": [{"model_name": "KNN"}]}, "anomstack"),
        ({"model_combination_method": "max"}, "anomstack"),
        ({"preprocess_fn": "def preprocess(df): return df"}, "anomstack"),
        ({"preprocess_params": {"lags_n": 3}}, "anomstack"),
        ({"preprocess_params": {"lags_n": 3}, "recipe": "seasonal"}, "seasonal"),
        ({"recipe": "anomstack"}, "anomstack"),
    ],
    ids=str,
)
def test_who_gives_models_or_features_gets_anomstacks_recipe(keys, recipe):
    keys = {key: value for key, value in keys.items() if value is not None}
    assert spec(**keys).recipe == recipe


def test_default_detectors_and_features_are_upstreams():
    bare = spec()
    assert [model.model_dump() for model in bare.model_configs] == [
        {"model_name": "PCA", "model_tag": "pca_default", "model_params": {"contamination": 0.01}},
        {"model_name": "KNN", "model_tag": "knn_default", "model_params": {"contamination": 0.01}},
    ]
    assert bare.preprocess_params.model_dump() == {
        "diff_n": 1, "smooth_n": 3, "lags_n": 5, "freq": None, "freq_agg": "mean",
    }  # fmt: skip


def test_every_key_is_declared_in_one_section_with_one_sentence():
    declared = [key for section in SECTIONS for key in section.model_fields]
    assert sorted(declared) == sorted(BatchSpec.model_fields)
    for key, info in BatchSpec.model_fields.items():
        assert info.description, key
        assert info.description.endswith("."), key
        assert ". " not in info.description, key


def test_defaults_are_valid_themselves():
    """Pydantic does not validate defaults; a wrong one would show in production only."""
    bare = BatchSpec(metric_batch="x", disable_ingest=True)
    assert BatchSpec.model_validate(bare.model_dump()) == bare
    assert BatchSpec.model_validate(bare.model_dump(mode="json")) == bare


def test_a_spec_is_immutable_and_pickles():
    one = spec(tholdalert_thresholds={"a": {"upper": 1}})
    with pytest.raises(ValidationError):
        one.shards = 2  # type: ignore[misc]
    with pytest.raises(ValidationError):
        one.preprocess_params.lags_n = 2  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(one)) == one


def test_values_take_the_types_of_their_keys():
    one = spec(
        alert_methods="Email, slack",
        email_to=["a@example.com"],
        tags=[2024, "x"],
        score_exclude_metrics=["'a'", '"b"', "c"],
        completeness_delay="2h",
        history_chunk=86400,
        alert_always="yes",
        train_max_n="100",
        metric_tags={"m": {"tier": 1, "live": True, "team": "x"}},
        tholdalert_thresholds={"m": {"upper": 10}},
        train_default_schedule_status="running",
        conn_id=" ",
        model_configs=[{"model_name": "ECOD"}],
        preprocess_params={"lags_n": 0},
    )
    assert one.alert_methods == ("email", "slack")
    assert one.email_to == ("a@example.com",)
    assert one.tags == ("2024", "x")
    assert one.score_exclude_metrics == ("a", "b", "c")
    assert one.completeness_delay == timedelta(hours=2)
    assert one.history_chunk == timedelta(days=1)
    assert one.alert_always is True
    assert one.train_max_n == 100
    assert one.metric_tags == {"m": {"tier": "1", "live": "true", "team": "x"}}
    assert (one.tholdalert_thresholds["m"].upper, one.tholdalert_thresholds["m"].lower) == (10, None)
    assert one.train_default_schedule_status == "RUNNING"
    assert one.conn_id is None
    assert one.model_configs[0].model_tag == "ECOD"
    assert (one.preprocess_params.lags_n, one.preprocess_params.smooth_n) == (0, 3)


def test_mappings_and_lists_whose_entries_are_commented_out_are_empty():
    one = spec(metric_tags=None, tholdalert_thresholds=None, preprocess_params=None, tags=None)
    assert (one.metric_tags, one.tholdalert_thresholds, one.tags) == ({}, {}, ())
    assert one.preprocess_params == spec().preprocess_params


def test_dates_without_offset_are_in_the_timezone_of_the_batch():
    one = spec(timezone="Europe/Berlin", start_date="2024-07-01", history_start="2024-01-01T00:00:00+00:00")
    assert one.start_date == datetime(2024, 6, 30, 22, tzinfo=UTC)
    assert one.history_start == datetime(2024, 1, 1, tzinfo=UTC)
    assert one.start_date.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("keys", "cron"),
    [
        ({}, "*/3 * * * *"),
        ({"schedule": "@daily"}, "0 0 * * *"),
        ({"ingest_cron_schedule": "@hourly"}, "0 * * * *"),
        ({"schedule": "0 6 * * *", "ingest_cron_schedule": "0  6 * * *"}, "0 6 * * *"),
        ({"schedule": "@daily", "ingest_cron_schedule": "0 0 * * *"}, "0 0 * * *"),
        ({"schedule": None, "ingest_cron_schedule": "@quarterly"}, "0 0 1 */3 *"),
        ({"schedule": "*/180 * * * *"}, "*/180 * * * *"),
    ],
)
def test_schedule_and_ingest_cron_schedule_are_one(keys: dict[str, object], cron: str):
    assert spec(**keys).cron == cron


def test_both_spellings_of_a_key_are_accepted():
    assert spec(disable_alerts="true").disable_alert is True
    assert spec(disable_alert=True, disable_alerts=True).disable_alert is True
    prompt = "find what is odd"
    assert spec(llmalert_anomaly_agent_system_prompt=prompt).llmalert_anomaly_agent_detection_prompt == prompt


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"alert_treshold": 0.9}, [("alert_treshold", "unknown key; did you mean 'alert_threshold'?")]),
        ({"Shards": 2}, [("Shards", "unknown key; did you mean 'shards'?")]),
        (
            {"zzz": 1},
            [
                (
                    "zzz",
                    "unknown key; remove it, or see config/defaults.yaml of the package for all known keys",
                )
            ],
        ),
        (
            {"preprocess_params": {"lag_n": 1}},
            [("preprocess_params.lag_n", "unknown key; did you mean 'lags_n'?")],
        ),
        (
            {"preprocess_params": {"xyz": 1}},
            [("preprocess_params.xyz", "unknown key; known are diff_n, freq, freq_agg, lags_n, smooth_n")],
        ),
        (
            {"tholdalert_thresholds": {"my metric": {"uper": 1}}},
            [("tholdalert_thresholds.my metric.uper", "unknown key; did you mean 'upper'?")],
        ),
        (
            {"model_configs": [{"model_nam": "PCA"}]},
            [
                ("model_configs[0].model_name", "is missing"),
                ("model_configs[0].model_nam", "unknown key; did you mean 'model_name'?"),
            ],
        ),
        ({"shards": 0}, [("shards", "expected 1 or more, got 0")]),
        (
            {"train_n_jobs": 0},
            [("train_n_jobs", "expected a number of processes, or -1 for one per processor, got 0")],
        ),
        ({"train_n_jobs": -2}, [("train_n_jobs", "expected -1 or more, got -2")]),
        ({"train_n_jobs": True}, [("train_n_jobs", "expected a number, got true")]),
        ({"shards": "two"}, [("shards", "expected a whole number, got 'two'")]),
        ({"shards": 1.5}, [("shards", "expected a whole number, got 1.5")]),
        ({"shards": True}, [("shards", "expected a number, got true")]),
        ({"shards": None}, [("shards", "has no value; give one, or delete the line to have the default")]),
        ({"alert_threshold": 80}, [("alert_threshold", "expected 1 or less, got 80")]),
        ({"alert_threshold": -0.1}, [("alert_threshold", "expected 0 or more, got -0.1")]),
        ({"alert_threshold": float("nan")}, [("alert_threshold", "expected a finite number, got nan")]),
        ({"change_threshold": 0}, [("change_threshold", "expected more than 0, got 0")]),
        ({"alert_always": "maybe"}, [("alert_always", "expected true or false, got 'maybe'")]),
        ({"train_sql": ["x"]}, [("train_sql", "expected text, got a list")]),
        ({"owner": ""}, [("owner", "expected some text, got ''")]),
        (
            {"model_combination_method": "median"},
            [("model_combination_method", "expected one of mean, min or max, got 'median'")],
        ),
        (
            {"score_default_schedule_status": "ON"},
            [("score_default_schedule_status", "expected one of STOPPED or RUNNING, got 'ON'")],
        ),
        ({"model_configs": []}, [("model_configs", "is empty; give at least one entry")]),
        ({"model_configs": "PCA"}, [("model_configs", "expected a list, got 'PCA'")]),
        (
            {"model_configs": [{"model_name": "os; x"}]},
            [("model_configs[0].model_name", "expected a class name such as PCA, got 'os; x'")],
        ),
        (
            {"model_configs": [{"model_name": "PCA"}, {"model_name": "PCA"}]},
            [
                (
                    "model_configs[1].model_tag",
                    "'PCA' is the tag of an earlier detector too; give each its own",
                )
            ],
        ),
        (
            {"preprocess_params": [1]},
            [("preprocess_params", "expected a mapping of keys and values, got a list")],
        ),
        ({"metric_tags": {"m": 1}}, [("metric_tags.m", "expected a mapping of keys and values, got 1")]),
        ({"tholdalert_thresholds": {"m": {}}}, [("tholdalert_thresholds.m", "give upper, lower or both")]),
        (
            {"tholdalert_thresholds": {"m": {"upper": 1, "lower": 2}}},
            [("tholdalert_thresholds.m", "lower (2) is above upper (1)")],
        ),
        ({"email_to": "ops"}, [("email_to", "'ops' is not an email address")]),
        ({"tags": {"a": 1}}, [("tags", "expected comma-separated text or a list of text, got a mapping")]),
        ({"metric_batch": " "}, [("metric_batch", "is empty; give the batch a name")]),
        (
            {"metric_batch": "x" * 201},
            [("metric_batch", f"expected at most 200 characters, got '{'x' * 56}...")],
        ),
        (
            {"ingest_sql": ""},
            [(None, "has neither ingest_sql nor ingest_fn; give one, or set disable_ingest: true")],
        ),
        (
            {"ingest_fn": "def ingest(): ..."},
            [("ingest_fn", "ingest_sql and ingest_fn are both given; keep one of them")],
        ),
        (
            {"train_min_n": 30, "train_max_n": 20},
            [("train_min_n", "train_min_n (30) is above train_max_n (20)")],
        ),
        ({"alert_recent_n": 251}, [("alert_recent_n", "alert_recent_n (251) is above alert_max_n (250)")]),
        ({"history_chunk": 0}, [("history_chunk", "expected more than 0, such as 30d")]),
        ({"catchup": True}, [("catchup", "needs a start_date to catch up from")]),
        (
            {"schedule": "@daily", "ingest_cron_schedule": "@hourly"},
            [
                (
                    "schedule",
                    "schedule and ingest_cron_schedule are one setting and say different things; keep one of them",
                )
            ],
        ),
        (
            {"disable_alert": True, "disable_alerts": False},
            [
                (
                    "disable_alerts",
                    "disable_alerts and disable_alert are one setting and say different things; keep one of them",
                )
            ],
        ),
        (
            {"schedule": "0 0 31 2 *"},
            [("schedule", "'0 0 31 2 *' never comes due; no calendar has such a day")],
        ),
    ],
)
def test_what_is_wrong_is_said(keys: dict[str, object], expected: list[tuple[str | None, str]]):
    assert problems(**keys) == expected


def test_every_mistake_is_found_at_once():
    assert [key for key, _ in problems(shards=0, timezone="x", grian="1h", alert_threshold="a")] == [
        "timezone", "shards", "alert_threshold", "grian",
    ]  # fmt: skip


def test_every_mistake_between_keys_is_found_at_once():
    assert [key for key, _ in problems(ingest_fn="x", catchup=True, train_min_n=9999)] == [
        "ingest_fn", "train_min_n", "catchup",
    ]  # fmt: skip


@pytest.mark.parametrize("switch", ["disable_ingest", "disable_batch"])
def test_nothing_to_ingest_is_needed_where_nothing_is_ingested(switch: str):
    assert BatchSpec.model_validate({"metric_batch": "x", switch: True})


def test_odd_names_are_names():
    for name in ["a/b", "it's", "a.b", "two words", "🛒", "x" * 200]:
        assert spec(metric_batch=name).metric_batch == name


def test_cautions_name_the_key_as_it_was_written():
    assert [key for key, _ in cautions(spec(train_cron_schedule="*/180 * * * *"))] == ["train_cron_schedule"]
    assert [key for key, _ in cautions(spec(schedule="*/180 * * * *"))] == ["schedule"]
    assert cautions(spec()) == []
    assert cautions(spec(dashboard_sql="select 1", plot_sql="select 1", dashboard_stale_metric_max_days_ago=3)) == []


def test_deleting_what_is_still_read_is_a_caution():
    kept = {"train_metric_timestamp_max_days_ago": 100, "score_metric_timestamp_max_days_ago": 30}
    assert cautions(spec(**kept, delete_after_n_days=100)) == []
    assert cautions(spec(**kept, delete_after_n_days=99)) == [
        ("delete_after_n_days", "deletes after 99 days, but train_metric_timestamp_max_days_ago reads 100")
    ]
    ((key, text),) = cautions(spec(**kept, delete_after_n_days=6))
    assert key == "delete_after_n_days"
    assert [part.split()[0] for part in text.split("but ")[1].split(", ")] == [
        "train_metric_timestamp_max_days_ago",
        "score_metric_timestamp_max_days_ago",
        "event_expires",
    ]
    assert cautions(spec(**kept, delete_after_n_days=6, disable_delete=True)) == []
    off = {"disable_train": True, "disable_score": True, "disable_alert": True}
    assert cautions(spec(**kept, **off, delete_after_n_days=6)) == []
    for recipe in ("seasonal", "anomstack"):
        assert cautions(spec(recipe=recipe)) == []


@pytest.mark.parametrize(
    "key",
    [f"{job}_{what}" for job in ("plot", "delete") for what in ("cron_schedule", "default_schedule_status", "sql")],
)
def test_the_keys_of_plot_and_delete_act(key: str):
    values = {"cron_schedule": "0 5 * * *", "default_schedule_status": "RUNNING", "sql": "SELECT 1"}
    assert cautions(spec(**{key: values[key.partition("_")[2]]})) == []


def test_a_channel_that_is_named_and_has_no_destination_is_a_caution():
    methods = {"alert_methods": ["email", "slack", "slack_webhook"], "email_to": ["a@example.com"]}
    assert cautions(spec(**methods)) == [
        ("alert_methods", "slack sends nothing without slack_channel"),
        ("alert_methods", "slack_webhook sends nothing without slack_webhook_conn_id"),
    ]


def test_thresholds_that_are_not_compared_are_a_caution():
    bounds = {"m": {"upper": 1}}
    assert cautions(spec(tholdalert_thresholds=bounds)) == [
        ("tholdalert_thresholds", "no effect without disable_tholdalert: false")
    ]
    for said in (True, False):
        assert cautions(spec(tholdalert_thresholds=bounds, disable_tholdalert=said)) == []


def test_the_seasonal_recipe_looks_for_changes_only_when_asked_to():
    assert spec().disable_change
    assert not spec(recipe="anomstack").disable_change
    assert not spec(change_threshold=5).disable_change
    assert not spec(disable_change=False).disable_change
    assert spec(recipe="anomstack", disable_change=True).disable_change


def test_the_alert_task_looks_for_what_is_switched_on():
    bounds = {"m": {"upper": 1}}
    assert spec().finds == {"anomaly", "late"}
    assert spec(recipe="anomstack").finds == {"anomaly", "change"}
    assert spec(tholdalert_thresholds=bounds, disable_tholdalert=False, freshness="off").finds == {
        "anomaly",
        "threshold",
    }
    assert spec(disable_tholdalert=False, disable_alert=True).finds == set()
    assert spec(disable_alert=True, disable_change=False).finds == {"change"}


def test_a_job_stopped_beside_a_running_ingest_is_left_out():
    jobs = ("train", "score", "alert", "change")
    stopped = {f"{job}_default_schedule_status": "STOPPED" for job in jobs}
    for ingest in ({}, {"ingest_default_schedule_status": "STOPPED"}):  # the status is that of all of them
        one = spec(recipe="anomstack", **stopped, **ingest)
        assert not any(one.is_off(job) for job in jobs)
        assert one.finds == {"anomaly", "change"}
        assert cautions(one) == []
    one = spec(recipe="anomstack", **stopped, ingest_default_schedule_status="running")
    assert all(one.is_off(job) for job in jobs)
    assert one.finds == set()
    assert one.switched_off == ["alert_default_schedule_status"]
    assert cautions(one) == [
        (
            "alert_default_schedule_status",
            "STOPPED beside a running ingest leaves out: alert, change, score, train; "
            "set it to RUNNING, or remove it, to have it",
        )
    ]
    running = {f"{job}_default_schedule_status": "RUNNING" for job in (*jobs, "ingest")}
    assert spec(recipe="anomstack", **running).finds == {"anomaly", "change"}
    assert spec(alert_default_schedule_status="RUNNING", disable_alert=True).finds == set()


def test_the_hash_is_the_same_in_every_process_and_version():
    """It names stored models: a new value here makes every user train anew, so change it knowingly."""
    assert spec().config_hash() == "6d9bf4460b98"


def test_the_hash_is_the_same_however_the_same_is_written():
    one = spec(completeness_delay="2h", train_exclude_metrics="a,b", preprocess_params={"lags_n": "3"})
    two = spec(
        completeness_delay=7200,
        train_exclude_metrics=["'a'", "b"],
        preprocess_params={"lags_n": 3, "diff_n": 1},
    )
    assert one.config_hash() == two.config_hash()
    assert one.config_facts() == two.config_facts()


@pytest.mark.parametrize(
    "keys",
    [
        {"metric_batch": "other"},
        {"model_configs": [{"model_name": "PCA"}]},
        {"preprocess_params": {"lags_n": 6}},
        {"preprocess_fn": "def preprocess(df): ..."},
        {"train_max_n": 2501},
        {"train_min_n": 15},
        {"train_metric_timestamp_max_days_ago": 91},
        {"train_exclude_metrics": "a"},
        {"train_sql": "select 2"},
        {"grain": "1d"},
        {"timezone": "Europe/Berlin"},
        {"completeness_delay": "1h"},
        {"holidays": "DE"},
        {"events": [{"name": "x", "start": "2024-05-01", "action": "exclude_from_training"}]},
    ],
    ids=lambda keys: next(iter(keys)),
)
def test_the_hash_changes_with_what_determines_a_model(keys: dict[str, object]):
    assert spec(**keys).config_hash() != spec().config_hash()


@pytest.mark.parametrize(
    "keys",
    [
        {"table_key": "other"},
        {"shards": 4},
        {"train_n_jobs": 4},
        {"alert_threshold": 0.9},
        {"schedule": "@daily"},
        {"conn_id": "x"},
        {"metric_tags": {"m": {"team": "x"}}},
        {"events": [{"name": "x", "start": "2024-05-01", "action": ["suppress", "annotate"]}]},
    ],
    ids=lambda keys: next(iter(keys)),
)
def test_the_hash_does_not_change_with_anything_else(keys: dict[str, object]):
    assert spec(**keys).config_hash() == spec().config_hash()


def test_text_and_list_keys_are_told_from_the_declarations():
    assert {
        "metric_batch",
        "schedule",
        "start_date",
        "completeness_delay",
        "train_default_schedule_status",
    } <= TEXT_KEYS
    assert not TEXT_KEYS & {
        "shards",
        "alert_threshold",
        "catchup",
        "tags",
        "metric_tags",
        "preprocess_params",
    }
    assert {"tags", "alert_methods", "email_to", "train_exclude_metrics"} <= LIST_KEYS
    assert not LIST_KEYS & {"model_configs", "prometheus_queries"}
