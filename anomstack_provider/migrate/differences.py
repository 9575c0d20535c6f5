"""
What Anomstack's keys are here, and what its code made of them: ``anomstack migrate`` and the docs say it from here.

Defaults and what a key does stand in ``config.keys``; only what somebody who comes from Anomstack has to know is here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from anomstack_provider.config.crons import step_warning
from anomstack_provider.config.loaded import LoadedBatch
from anomstack_provider.config.overrides import clock_in, is_built_in
from anomstack_provider.config.spec import TEXT_KEYS, BatchSpec


@dataclass(frozen=True)
class KeyNote:
    """
    Some keys of Anomstack's.

    :param here: what they do here; empty: what they say, as in Anomstack.
    :param instead: what does it better here.
    """

    keys: tuple[str, ...]
    here: str = ""
    instead: str = ""


@dataclass(frozen=True)
class Difference:
    """
    Something that means another thing here, whichever keys a batch gives.

    :param was: what Anomstack does.
    :param now: what happens here.
    :param concerns: whether it matters to a batch.
    """

    title: str
    was: str
    now: str
    concerns: Callable[[LoadedBatch], bool]


def is_own_template(value: object) -> bool:
    """Whether a value only includes a file of Anomstack's own ``defaults`` folder."""
    return isinstance(value, str) and is_built_in(value)


_RECIPE = "recipe seasonal, which a batch has without model_configs, model_combination_method, preprocess_fn and lags"
_STEP = "Checked and without effect: the step runs in the batch's DAG, after the step before it."
_JOB = "STOPPED leaves the job out where ingest is RUNNING, else it is ingest's status that counts."
_QUERY = "Asked as of the run's or the model's time; an include of Anomstack's own file is not run."
_RECENT = "Buckets that closed in the run's window alert too, however many they are."

KEYS: tuple[KeyNote, ...] = (
    KeyNote(("metric_batch",), "A name that two files give is an error that names both."),
    KeyNote(("disable_batch", "disable_ingest", "disable_score", "disable_alert")),
    KeyNote(("disable_alerts",), "Another spelling of disable_alert.", "disable_alert"),
    KeyNote(("ingest_sql",), "Tried in the source's own dialect first, then in DuckDB's."),
    KeyNote(("ingest_fn",), "One namespace for imports, constants and functions; dagster's logger is provided."),
    KeyNote(("metric_tags", "table_key")),
    KeyNote(("db",), "Without effect but for templates: the Airflow connection decides.", "conn_id"),
    KeyNote(("model_path",), "A folder or any fsspec URL, s3://conn_id@bucket/path with an Airflow connection."),
    KeyNote(("gcp_project_id",), "A name for templates; the connection has its own project."),
    KeyNote(("model_configs", "model_combination_method"), "Asks for recipe anomstack.", _RECIPE),
    KeyNote(
        ("preprocess_params",),
        "Asks for recipe anomstack, unless it has nothing but freq and freq_agg.",
        f"{_RECIPE}; keep freq where buckets are to be made of finer data",
    ),
    KeyNote(("preprocess_fn",), "Asks for recipe anomstack.", _RECIPE),
    KeyNote(("train_max_n", "train_metric_timestamp_max_days_ago"), "", "the defaults of recipe seasonal: 5000, 730"),
    KeyNote(("train_min_n",), "Points that a metric needs; Anomstack left the newest train_min_n - 1 out of training."),
    KeyNote(("disable_train",), "No train task; the score task trains what it misses."),
    KeyNote(
        ("score_max_n", "score_metric_timestamp_max_days_ago"),
        "How far back unscored buckets are looked for; those that closed in the run's window are scored in any case.",
    ),
    KeyNote(("ingest_metric_rounding", "score_metric_rounding")),
    KeyNote(("alert_methods",), "Channels by name; each needs a destination, such as email_to."),
    KeyNote(("alert_always",), "Tells each bucket once, as ROUTINE; Anomstack sent it again with each run."),
    KeyNote(("alert_threshold",), "At or above it, of the mean with earlier scores.", "false_alarms_per_month"),
    KeyNote(
        ("alert_smooth_n",),
        "Earlier scores in the mean; Anomstack averaged with newer ones, which the newest does not have.",
        "recipe seasonal, which needs no smoothing",
    ),
    KeyNote(("alert_recent_n",), _RECENT),
    KeyNote(
        ("alert_snooze_n",),
        "Quiet buckets that end an event, which is told once; Anomstack looked for alerts in newer buckets.",
        "merge_max_gap, renotify_pct, event_expires",
    ),
    KeyNote(("alert_max_n", "alert_metric_timestamp_max_days_ago"), "Limits of an alert's chart."),
    KeyNote(("train_exclude_metrics", "score_exclude_metrics", "alert_exclude_metrics"), "With or without quotes."),
    KeyNote(("disable_tholdalert", "tholdalert_thresholds")),
    KeyNote(("tholdalert_methods",), "alert_methods unless given.", "routes, by kind"),
    KeyNote(("tholdalert_recent_n",), _RECENT),
    KeyNote(("tholdalert_snooze_n",), "Quiet buckets that end an event, across runs."),
    KeyNote(("tholdalert_exclude_metrics", "change_include_metrics", "change_exclude_metrics"), "As above."),
    KeyNote(
        ("disable_change", "change_threshold", "change_detect_last_n", "change_smooth_n"),
        "Changes of level are told; in Anomstack they never are.",
        "recipe seasonal, which tells them itself",
    ),
    KeyNote(("change_snooze_n",), "Buckets without a change that end an event."),
    KeyNote(("change_max_n", "change_metric_timestamp_max_days_ago")),
    KeyNote(("ingest_cron_schedule",), "Schedule of the DAG, which has all steps.", "schedule"),
    KeyNote(("train_cron_schedule",), "Train in the run whose window holds a tick.", "the default of recipe seasonal"),
    KeyNote(("score_cron_schedule", "alert_cron_schedule", "change_cron_schedule"), _STEP, "schedule"),
    KeyNote(("ingest_default_schedule_status",), "Whether a new DAG starts unpaused; unset leaves it to Airflow."),
    KeyNote(
        (
            "train_default_schedule_status",
            "score_default_schedule_status",
            "alert_default_schedule_status",
            "change_default_schedule_status",
            "plot_default_schedule_status",
        ),
        _JOB,
    ),
    KeyNote(("train_sql", "score_sql", "alert_sql", "change_sql"), _QUERY),
    KeyNote(
        (
            "disable_llmalert",
            "llmalert_cron_schedule",
            "llmalert_model",
            "llmalert_recent_n",
            "llmalert_smooth_n",
            "llmalert_metric_rounding",
            "llmalert_metric_timestamp_max_days_ago",
            "llmalert_prompt_max_n",
            "llmalert_include_plot",
            "llmalert_anomaly_agent_detection_prompt",
            "llmalert_anomaly_agent_verification_prompt",
            "prompt_fn",
            "llmalert_sql",
        )
    ),
    KeyNote(
        ("llmalert_default_schedule_status",),
        "STOPPED asks in runs started by hand only, RUNNING or unset in every run.",
    ),
    KeyNote(
        ("llmalert_anomaly_agent_system_prompt",),
        "Older spelling.",
        "llmalert_anomaly_agent_detection_prompt",
    ),
    KeyNote(("disable_plot", "plot_cron_schedule", "plot_sql")),
    KeyNote(("disable_dashboard", "dashboard_sql")),
    KeyNote(
        ("dashboard_stale_metric_max_days_ago",),
        "Also the days for which the summary names such a metric. A bucket counts from its end.",
    ),
    KeyNote(
        (
            "disable_summary",
            "summary_cron_schedule",
            "summary_default_schedule_status",
            "summary_metric_timestamp_max_days_ago",
            "summary_sql",
        )
    ),
    KeyNote(
        (
            "disable_delete",
            "delete_cron_schedule",
            "delete_default_schedule_status",
            "delete_sql",
        )
    ),
    KeyNote(("delete_after_n_days",), "", "the default of recipe seasonal, 1095, which keeps what is trained on"),
    KeyNote(
        (
            "prometheus_queries",
            "prometheus_query_type",
            "prometheus_start",
            "prometheus_end",
            "prometheus_step",
        ),
        "Read by the ingest functions of its Prometheus examples.",
    ),
)

NOTES: dict[str, KeyNote] = {key: note for note in KEYS for key in note.keys}


def _from_variable(batch: LoadedBatch, keys: frozenset[str] | None = None) -> bool:
    """Whether a value comes from a variable: one of ``keys``, or any whose value is no text."""
    set_by = {key for key, source in batch.provenance.items() if source.kind == "environment"}
    return bool(set_by & keys) if keys is not None else any(key not in TEXT_KEYS for key in set_by)


def _reads_the_clock(batch: LoadedBatch) -> bool:
    return clock_in([batch.spec.ingest_sql or ""]) is not None


def _finds(batch: LoadedBatch, kind: str) -> bool:
    return kind in batch.spec.finds


def _odd_crons(spec: BatchSpec) -> list[str]:
    keys = sorted(key for key in spec.model_fields_set if key.endswith("_cron_schedule"))
    return [key for key in keys if getattr(spec, key) and step_warning(getattr(spec, key))]


_GLOBAL = frozenset({"model_path", "table_key", "gcp_project_id"})

DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "smoothing",
        "The mean of a score was taken with newer scores, so the newest score, the one that alerts, stood alone.",
        "The mean is that of a score and the alert_smooth_n before it: a short spike may not alert any more.",
        lambda batch: _finds(batch, "anomaly") and batch.spec.alert_smooth_n > 0,
    ),
    Difference(
        "snoozing",
        "Earlier alerts were looked for in newer buckets: nothing was snoozed, one spike alerted up to nine times.",
        "A problem is one event, told when it opens, gets worse and ends. notify_closed: false leaves the end untold.",
        lambda batch: bool(batch.spec.finds),
    ),
    Difference(
        "changes of level",
        "Change detection never alerted, not even on a value a thousand times the usual one.",
        "It alerts. disable_change: true keeps it silent.",
        lambda batch: _finds(batch, "change"),
    ),
    Difference(
        "training points",
        "The newest train_min_n - 1 points of a metric were left out of training.",
        "The newest train_max_n points are trained on; a metric with fewer than train_min_n says learning 9/14.",
        lambda batch: not batch.spec.disable_score,
    ),
    Difference(
        "ties at the top",
        "Scores run from the least to the greatest of training: all beyond are 1.0, and one outlier blinds a model.",
        "The same with recipe anomstack; with recipe seasonal a score says how seldom a bucket like it comes.",
        lambda batch: batch.spec.recipe == "anomstack",
    ),
    Difference(
        "one DAG",
        "Ingest, train, score, alert and change were jobs, each with a cron of its own.",
        "They are steps of one DAG with the cron of ingest; the other crons do not make a step run more often.",
        lambda batch: bool(
            {f"{step}_cron_schedule" for step in ("train", "score", "alert", "change")} & set(batch.raw)
        ),
    ),
    Difference(
        "closed buckets",
        "The newest row was scored as it was: today's half-filled bucket looked like a drop.",
        "A bucket is trained on, scored and alerted on once it has ended: the value of a day is judged after midnight.",
        lambda batch: batch.spec.grain != "instant",
    ),
    Difference(
        "steps of crons",
        "*/180 * * * * and its like looked as if they were every 180 minutes.",
        "They mean what cron makes of them, and a warning says what that is.",
        lambda batch: bool(_odd_crons(batch.spec)),
    ),
    Difference(
        "typed variables",
        "Values of ANOMSTACK__BATCH__KEY variables stayed text, so that 'false' was true.",
        "They are read as the key's type.",
        _from_variable,
    ),
    Difference(
        "variables for all batches",
        "ANOMSTACK_MODEL_PATH, ANOMSTACK_TABLE_KEY and ANOMSTACK_GCP_PROJECT_ID filled only what no file gave.",
        "They go before the files; only a batch's own table_key stays.",
        lambda batch: _from_variable(batch, _GLOBAL),
    ),
    Difference(
        "connections",
        "db named a kind of database, and credentials were variables of the process.",
        "conn_id names an Airflow connection, which is both; metrics_conn_id may keep the metrics on another.",
        lambda batch: batch.spec.db != "duckdb" and batch.spec.conn_id is None,
    ),
    Difference(
        "the clock in SQL",
        "A job ran once, now: SQL asked the database for the time.",
        "It still may, but a backfill of March would store today's rows: write {{ data_interval_end }} for now().",
        _reads_the_clock,
    ),
    Difference(
        "Anomstack's own templates",
        "defaults.yaml included SQL and Python of the defaults folder for train, score, alert and others.",
        "What they are for is built in: anomstack migrate --write leaves them out. Name one again if you changed it.",
        lambda batch: any(is_own_template(value) for value in batch.raw.values()),
    ),
    Difference(
        "unknown keys",
        "A key that nothing reads, a misspelled one too, was passed over.",
        "It is an error that names the nearest known key; the other batches run.",
        lambda batch: False,
    ),
    Difference(
        "names given twice",
        "Of two files with the same metric_batch the last one silently won.",
        "It is an error that names both files.",
        lambda batch: False,
    ),
    Difference(
        "duplicate rows",
        "Every run appended: a repeated run left rows twice, and their mean was used.",
        "A row is replaced by its key. Of rows that Anomstack wrote twice the one stored last counts.",
        lambda batch: False,
    ),
)


def key_rows() -> Iterator[str]:
    """Yield a row of Markdown for each key of Anomstack's: key, what it does here, what is better."""
    for note in KEYS:
        for key in note.keys:
            here = note.here or "The same."
            yield f"| `{key}` | {here} | {note.instead} |"


def difference_rows() -> Iterator[str]:
    """Yield a row of Markdown for each difference."""
    for one in DIFFERENCES:
        yield f"| {one.title} | {one.was} | {one.now} |"
