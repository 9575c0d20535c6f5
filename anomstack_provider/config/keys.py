"""Every key of a batch, declared once: name, type, default and what it does, grouped as the docs show them.

The default of a key that Anomstack knows is Anomstack's, except ``*_default_schedule_status``: unset, so that
Airflow's own setting for new DAGs decides. Rules between keys live in ``conflicts``.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

from anomstack_provider.config.calendar import EventList, HolidayList
from anomstack_provider.config.explain import Path
from anomstack_provider.config.gates import Freshness, Gates, OptionalGates, SettingsMap
from anomstack_provider.config.values import (
    AddressList,
    AtLeastOne,
    ChannelName,
    ClassPath,
    Count,
    Cron,
    Decimals,
    Duration,
    Jobs,
    MethodList,
    MetricList,
    MetricTags,
    ModelPath,
    Name,
    Number,
    OptionalCron,
    OptionalFreq,
    OptionalGrain,
    OptionalMoment,
    OptionalQuietHours,
    OptionalShare,
    OptionalText,
    Parameters,
    Positive,
    Status,
    TagMap,
    TextList,
    Timezone,
    nothing_is_empty,
    split_list,
)

_STATUS = "RUNNING or STOPPED: whether a new DAG starts unpaused; unset leaves it to Airflow's own setting."
_OF_A_JOB = (
    "STOPPED leaves {job} out if ingest_default_schedule_status is RUNNING; else all jobs of the DAG start with it, "
    "and RUNNING has no effect."
)


class Section(BaseModel):
    """Keys of one subject; immutable, and nothing but the declared keys."""

    # The sections are only built as parts of a BatchSpec, never on their own.
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True, protected_namespaces=()
    )


class Identity(Section):
    """The batch"""

    metric_batch: str = Field(min_length=1, max_length=200, description="Name of the batch, unique in the folder.")
    description: OptionalText = Field(default=None, description="What the batch measures, shown with its DAG.")
    owner: Name = Field(default="airflow", description="Owner of the DAG as Airflow shows it.")
    tags: TextList = Field(default=(), description="Tags of the DAG.")
    disable_batch: bool = Field(default=False, description="Leave the whole batch out: no DAG is made of it.")
    metric_tags: MetricTags = Field(
        default_factory=dict,
        description="Tags of single metrics that go out with their alerts: {metric: {key: value}}.",
    )
    metric_settings: SettingsMap = Field(
        default_factory=dict,
        description="What to tell of single metrics and which gates they have, by name or glob, later entries win: "
        "{metric: {title, unit, owner, priority, runbook, dashboard, alert_gates}}.",
    )


class Storage(Section):
    """Where data and models are kept"""

    db: Name = Field(default="duckdb", description="Kind of database, as Anomstack names it; conn_id decides if set.")
    conn_id: OptionalText = Field(
        default=None,
        description="Airflow connection of the source, and of the metrics table; unset is the built-in DuckDB file.",
    )
    metrics_conn_id: OptionalText = Field(
        default=None,
        description="Airflow connection of the metrics table alone, where it is another than conn_id.",
    )
    table_key: Name = Field(default="metrics", description="Metrics table, with its schema if need be: schema.table.")
    gcp_project_id: OptionalText = Field(
        default=None,
        description="Google Cloud project, for templates that name it; the connection has its own.",
    )
    model_path: ModelPath = Field(
        default="local://./models",
        description="Where models are kept: local, file, s3, gs or any other fsspec URL.",
    )
    model_keep_versions: AtLeastOne = Field(
        default=10,
        description="Versions of the batch's models to keep; older ones are removed after training.",
    )


class Schedule(Section):
    """When it runs, and the calendar of its buckets"""

    timezone: Timezone = Field(
        default="UTC",
        description="Time zone of the schedule, of the buckets and of dates given without an offset.",
    )
    schedule: OptionalCron = Field(
        default=None,
        description="Cron or preset of the DAG; a shorter name for ingest_cron_schedule, give one of them.",
    )
    ingest_cron_schedule: Cron = Field(default="*/3 * * * *", description="Cron or preset of the DAG, all steps of it.")
    ingest_default_schedule_status: Status = Field(default=None, description=_STATUS)
    grain: OptionalGrain = Field(
        default=None,
        description="Length of a bucket: 15min, 1h, 1d, 1w, 1mo, or instant; inferred from data if unset.",
    )
    completeness_delay: Duration = Field(
        default=timedelta(0),
        description="How long after its end a bucket may still change; it is judged only then.",
    )
    start_date: OptionalMoment = Field(
        default=None,
        description="First moment the DAG is scheduled for; without an offset in the batch's timezone.",
    )
    catchup: bool = Field(default=False, description="Run every missed interval since start_date.")
    retries: Count = Field(default=1, description="How often Airflow tries a failed task again.")
    max_active_runs: AtLeastOne = Field(default=4, description="Runs of the batch at the same time, at most.")
    shards: AtLeastOne = Field(
        default=1,
        description="Groups of metrics that are trained and scored as tasks of their own, in parallel.",
    )


class Calendar(Section):
    """Holidays and known events"""

    holidays: HolidayList = Field(
        default=(),
        description="Public holidays that are taken for Sundays: DE, US-CA, a list of such codes, or for other actions "
        "or some metrics only [{country, subdivision, action, metrics, tags}].",
    )
    events: EventList = Field(
        default=(),
        description="Known events, named in messages unless an action says more: [{name, start, end, yearly, action, "
        "metrics, tags}], or [{ics, action, metrics, tags}] for an iCalendar file.",
    )


class Ingest(Section):
    """Ingest"""

    disable_ingest: bool = Field(default=False, description="Do not ingest: another tool fills the metrics table.")
    ingest_sql: OptionalText = Field(
        default=None, description="SQL (Jinja) that returns metric_timestamp, metric_name and metric_value."
    )
    ingest_fn: OptionalText = Field(
        default=None, description="Python text (Jinja) with a function ingest() that returns those columns."
    )
    ingest_metric_rounding: Decimals = Field(
        default=4, description="Decimal places kept of a metric's value; -1 keeps all."
    )
    history_start: OptionalMoment = Field(
        default=None,
        description="The first run loads history from here on; without an offset in the batch's timezone.",
    )
    history_chunk: Duration = Field(
        default=timedelta(days=30), description="Length of the pieces in which history is loaded."
    )


class Prometheus(Section):
    """For the ingest functions of Anomstack's Prometheus examples"""

    prometheus_queries: tuple[dict[str, JsonValue], ...] = Field(
        default=(), description="Queries with their names: [{name, query}]."
    )
    prometheus_query_type: Literal["query", "query_range"] = Field(
        default="query", description="An instant query or one over a range."
    )
    prometheus_start: Name = Field(default="now-1h", description="Start of a range query.")
    prometheus_end: Name = Field(default="now", description="End of a range query.")
    prometheus_step: Name = Field(default="60s", description="Step of a range query.")


class PreprocessParams(BaseModel):
    """How a series becomes features: resample, difference, smooth, then the value and its lags."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    diff_n: Count = Field(default=1, description="Difference to the value so many points before; 0 keeps the value.")
    smooth_n: Count = Field(default=3, description="Points of the rolling mean; 0 or 1 does not smooth.")
    lags_n: Count = Field(default=5, description="How many earlier points are features of a point.")
    freq: OptionalFreq = Field(default=None, description="Resample to this pandas frequency first; unset does not.")
    freq_agg: Literal["mean", "sum", "min", "max", "last", "count"] = Field(
        default="mean", description="How the points of one resampled bucket become one value."
    )


class ModelConfig(BaseModel):
    """One detector."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model_name: str = Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$",
        description=(
            "Class of PyOD, such as PCA or KNN, or one of FlatLine, SeasonalResidual, SlotNeighbours, SlowDrift, "
            "WindowNeighbours."
        ),
    )
    model_tag: Name = Field(default="", description="Name of this detector within the batch; unset is its model_name.")
    model_params: Parameters = Field(default_factory=dict, description="Arguments of the class.")

    @model_validator(mode="before")
    @classmethod
    def _tag_is_name(cls, values: object) -> object:
        if isinstance(values, dict) and values.get("model_tag") is None and "model_name" in values:
            return {**values, "model_tag": values["model_name"]}
        return values


_DEFAULT_MODELS = (
    ModelConfig(model_name="PCA", model_tag="pca_default", model_params={"contamination": 0.01}),
    ModelConfig(model_name="KNN", model_tag="knn_default", model_params={"contamination": 0.01}),
)


class Train(Section):
    """Train"""

    disable_train: bool = Field(
        default=False, description="No train task; the score task trains a model that it misses."
    )
    recipe: Literal["seasonal", "anomstack"] | None = Field(
        default=None,
        description=(
            "How anomalies are told: seasonal (season, level, calibrated false alarms) or anomstack (preprocess_params "
            "and model_configs); unset is anomstack for a batch that gives model_configs, model_combination_method, "
            "preprocess_fn, or more of preprocess_params than freq and freq_agg, and seasonal for all others."
        ),
    )
    train_cron_schedule: Cron = Field(
        default="*/5 * * * *",
        description="When to train: in the DAG's run whose window holds a tick; */5 * * * * with recipe anomstack.",
    )
    train_default_schedule_status: Status = Field(default=None, description=_OF_A_JOB.format(job="the train task"))
    model_configs: tuple[ModelConfig, ...] = Field(
        default=_DEFAULT_MODELS,
        min_length=1,
        description="Detectors that are trained per metric: [{model_name, model_tag, model_params}].",
    )
    model_combination_method: Literal["mean", "min", "max"] = Field(
        default="mean", description="How the scores of the detectors become one."
    )
    preprocess_params: Annotated[PreprocessParams, BeforeValidator(nothing_is_empty)] = Field(
        default=PreprocessParams(),
        description="How a series becomes features; keys left out keep their defaults.",
    )
    preprocess_fn: OptionalText = Field(
        default=None,
        description="Python text (Jinja) with a function preprocess(df, ...) that makes the features of recipe "
        "anomstack instead, see overrides.md.",
    )
    train_max_n: AtLeastOne = Field(
        default=2500, description="Newest points of a metric to train on, at most; 2500 with recipe anomstack."
    )
    train_min_n: AtLeastOne = Field(default=14, description="Points a metric needs before it is trained at all.")
    train_metric_timestamp_max_days_ago: AtLeastOne = Field(
        default=90, description="Train on points of so many days, at most; 90 with recipe anomstack."
    )
    train_n_jobs: Jobs = Field(
        default=1,
        description="Processes in which a task fits metrics with recipe anomstack; -1 is one per processor.",
    )
    train_exclude_metrics: MetricList = Field(default=(), description="Metrics that are not trained.")
    train_sql: OptionalText = Field(
        default=None, description="SQL (Jinja) whose rows are trained on instead, see overrides.md."
    )


class Score(Section):
    """Score"""

    disable_score: bool = Field(default=False, description="No score task; the alert task scores what it needs.")
    score_cron_schedule: Cron = Field(
        default="*/4 * * * *",
        description="Anomstack's cron of scoring; here each run of the DAG scores its window.",
    )
    score_default_schedule_status: Status = Field(default=None, description=_OF_A_JOB.format(job="the score task"))
    score_max_n: AtLeastOne = Field(default=25, description="Newest points of a metric to look back for unscored ones.")
    score_metric_timestamp_max_days_ago: AtLeastOne = Field(
        default=14, description="Look back for unscored points by so many days, at most."
    )
    score_metric_rounding: Decimals = Field(default=4, description="Decimal places kept of a score; -1 keeps all.")
    score_exclude_metrics: MetricList = Field(default=(), description="Metrics that are not scored.")
    score_sql: OptionalText = Field(
        default=None, description="SQL (Jinja) whose rows are scored instead, see overrides.md."
    )


class Alerts(Section):
    """Alerts on scores"""

    disable_alert: bool = Field(default=False, description="Do not alert on scores.")
    disable_alerts: bool | None = Field(default=None, description="Another spelling of disable_alert.")
    alert_cron_schedule: Cron = Field(
        default="*/5 * * * *",
        description="Anomstack's cron of alerting; here each run of the DAG alerts on its window.",
    )
    alert_default_schedule_status: Status = Field(default=None, description=_OF_A_JOB.format(job="alerts on scores"))
    alert_methods: MethodList = Field(default=("email", "slack"), description="Channels that alerts go to.")
    alert_always: bool = Field(
        default=False, description="Tell the newest bucket of each run whatever its score, marked ROUTINE."
    )
    false_alarms_per_month: Positive = Field(
        default=1.0,
        description="False alarms per metric in 30 days to put up with, in recipe seasonal without alert_threshold.",
    )
    alert_threshold: OptionalShare = Field(
        default=0.8,
        description=(
            "Smoothed score, 0 to 1, at which a bucket is an anomaly; unset is that of false_alarms_per_month, "
            "0.8 with recipe anomstack."
        ),
    )
    alert_smooth_n: Count = Field(
        default=3, description="Earlier scores averaged with the bucket's own; 3 with recipe anomstack."
    )
    alert_recent_n: AtLeastOne = Field(default=1, description="Newest buckets that can alert.")
    alert_snooze_n: Count = Field(
        default=3, description="Buckets without a finding after which an event is over; merge_max_gap too must be past."
    )
    merge_max_gap: Duration = Field(
        default=timedelta(0),
        description="Time without a finding after which an event is over; 0 with recipe anomstack.",
    )
    renotify_pct: Positive = Field(
        default=50.0,
        description="An event is told again when it is so many percent further from the expected value than last told.",
    )
    event_expires: Duration = Field(
        default=timedelta(days=7), description="An event that lasts longer says so once and is silent until it is over."
    )
    notify_closed: bool = Field(default=True, description="Tell when an event is over.")
    alert_gates: OptionalGates = Field(
        default=Gates(),
        description="Business rules that a finding has to pass: {direction, min_abs_change, min_pct_change, "
        "min_volume, valid_range, guardrail, active_hours, maintenance}.",
    )
    freshness: Freshness = Field(
        default="off",
        description="How long after the usual time the newest bucket may be missing: auto, off or a duration; "
        "off with recipe anomstack.",
    )
    alert_max_n: AtLeastOne = Field(default=250, description="Points in an alert's chart, at most.")
    alert_metric_timestamp_max_days_ago: AtLeastOne = Field(
        default=45, description="Points of so many days in an alert's chart, at most."
    )
    alert_exclude_metrics: MetricList = Field(default=(), description="Metrics that do not alert on scores.")
    alert_sql: OptionalText = Field(
        default=None, description="SQL (Jinja) whose rows are judged instead, see overrides.md."
    )


# The channels that are there without a notifier; delivery/channels has a file for each.
CHANNELS = ("email", "slack", "slack_webhook")
# Where a channel sends to, by its name: the key that says so, of the batch or of a route.
DESTINATIONS = {"email": "email_to", "slack": "slack_channel", "slack_webhook": "slack_webhook_conn_id"}
# What days are like. Entries that only suppress or annotate leave a model as it is; tags read metric_tags.
CALENDAR_KEYS = ("holidays", "events")


class NotifierConfig(BaseModel):
    """A channel made of any notifier class of Airflow or of one's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ChannelName = Field(description="What alert_methods and routes call it: small letters, digits, _ and -.")
    dotted_path: ClassPath = Field(alias="class", description="Dotted path of a subclass of Airflow's BaseNotifier.")
    args: Parameters = Field(
        default_factory=dict,
        description="Arguments of the class; every text in them is a Jinja template over event, text and links.",
    )
    group: bool = Field(
        default=True,
        description="Ten transitions or more at once are one message; false for a pager that resolves each event.",
    )


class Route(BaseModel):
    """Which alerts go to which channels; what is left out fits every alert."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batches: MetricList = Field(default=(), description="Names or patterns of batches, for routes in defaults.yaml.")
    metrics: MetricList = Field(default=(), description="Names or patterns of metrics.")
    tags: TagMap = Field(default_factory=dict, description="Tags in metric_tags that a metric must all have.")
    owner: OptionalText = Field(default=None, description="Owner of the metric, or of the batch.")
    severity: Literal["low", "medium", "high"] | None = Field(default=None, description="The least severity.")
    kinds: Annotated[
        tuple[Literal["anomaly", "threshold", "change", "llm", "late"], ...],
        BeforeValidator(split_list, json_schema_input_type=str | list[str] | None),
    ] = Field(default=(), description="Kinds of alerts.")
    channels: MethodList | None = Field(
        default=None, description="Channels to tell; empty tells nobody, unset is alert_methods."
    )
    email_to: AddressList = Field(default=(), description="Addresses instead of the batch's.")
    slack_channel: OptionalText = Field(default=None, description="Slack channel instead of the batch's.")
    slack_webhook_conn_id: OptionalText = Field(default=None, description="Webhook instead of the batch's.")


class Delivery(Section):
    """Delivery"""

    email_to: AddressList = Field(default=(), description="Addresses that email alerts go to.")
    smtp_conn_id: Name = Field(default="smtp_default", description="Airflow connection that email is sent with.")
    slack_conn_id: Name = Field(default="slack_api_default", description="Airflow connection of Slack's API.")
    slack_channel: OptionalText = Field(default=None, description="Slack channel that alerts go to.")
    slack_webhook_conn_id: OptionalText = Field(
        default=None, description="Airflow connection of the incoming webhook that method slack_webhook posts to."
    )
    notifiers: tuple[NotifierConfig, ...] = Field(
        default=(),
        description="Further channels, each any notifier class of Airflow: [{name, class, args, group}].",
    )
    routes: tuple[Route, ...] = Field(
        default=(),
        description="Who is told of what, the first that fits: [{batches, metrics, tags, owner, severity, kinds, "
        "channels, email_to, slack_channel, slack_webhook_conn_id}]; an alert that none fits goes to alert_methods.",
    )
    budget_per_week: Annotated[dict[str, Count], BeforeValidator(nothing_is_empty)] = Field(
        default_factory=dict,
        description="Messages per ISO week and channel, {channel: n}; what is beyond goes out in one digest.",
    )
    digest_cron_schedule: Cron = Field(
        default="0 9 * * *", description="When the digest of what was beyond the budget is sent."
    )
    quiet_hours: OptionalQuietHours = Field(
        default=None,
        description="Time of day in the batch's timezone, such as 22:00-07:00, in which alerts below high wait.",
    )
    delivery_attempts: AtLeastOne = Field(
        default=20,
        description="Tries after which a delivery is abandoned, about three days after it was first refused.",
    )
    notify_on_backfill: bool = Field(default=False, description="Send the alerts of backfilled intervals too.")


class Threshold(BaseModel):
    """Bounds of one metric; a value strictly outside them is an alert."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    upper: Number | None = Field(default=None, description="Alert on values above.")
    lower: Number | None = Field(default=None, description="Alert on values below.")

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Threshold:
        if self.upper is None and self.lower is None:
            raise ValueError("give upper, lower or both")
        if self.upper is not None and self.lower is not None and self.lower > self.upper:
            raise ValueError(f"lower ({self.lower:g}) is above upper ({self.upper:g})")
        return self


class ThresholdAlerts(Section):
    """Alerts on fixed thresholds"""

    disable_tholdalert: bool = Field(
        default=True, description="Do not compare values with tholdalert_thresholds; false to compare them."
    )
    tholdalert_thresholds: Annotated[dict[str, Threshold], BeforeValidator(nothing_is_empty)] = Field(
        default_factory=dict,
        description="Bounds of single metrics: {metric: {upper, lower}}; a stored value at a bound is within.",
    )
    tholdalert_methods: MethodList = Field(
        default=("email", "slack"), description="Channels threshold alerts go to; alert_methods unless it is given."
    )
    tholdalert_recent_n: AtLeastOne = Field(default=1, description="Newest buckets that are compared.")
    tholdalert_snooze_n: Count = Field(
        default=3, description="Buckets within the thresholds after which the next one outside is another event."
    )
    tholdalert_exclude_metrics: MetricList = Field(default=(), description="Metrics that are not compared.")


class Change(Section):
    """Change detection"""

    disable_change: bool = Field(
        default=False,
        description=(
            "Do not look for changes of level; true with recipe seasonal, which tells them itself, unless the batch "
            "gives another key of these."
        ),
    )
    change_cron_schedule: Cron = Field(
        default="*/5 * * * *",
        description="Anomstack's cron of change detection; here each run of the DAG looks at its window.",
    )
    change_default_schedule_status: Status = Field(default=None, description=_OF_A_JOB.format(job="change detection"))
    change_threshold: Positive = Field(
        default=3.5,
        description="Distance from the median, as PyOD's MAD counts it, above which a point is a change.",
    )
    change_detect_last_n: AtLeastOne = Field(
        default=1,
        description="Newest points, the one that is judged among them, that do not count as usual yet.",
    )
    change_smooth_n: Count = Field(default=1, description="Points of the rolling mean; 0 or 1 does not smooth.")
    change_snooze_n: Count = Field(
        default=3, description="Buckets without a change after which the next one is another event."
    )
    change_max_n: AtLeastOne = Field(
        default=250, description="Points up to the one that is judged to look at, at most."
    )
    change_metric_timestamp_max_days_ago: AtLeastOne = Field(
        default=45, description="Look at points of so many days, at most."
    )
    change_include_metrics: MetricList = Field(default=(), description="Look at these metrics only; empty is all.")
    change_exclude_metrics: MetricList = Field(default=(), description="Metrics that are not looked at.")
    change_sql: OptionalText = Field(
        default=None, description="SQL (Jinja) whose rows are looked at instead, see overrides.md."
    )


class LanguageModelAlerts(Section):
    """Alerts by a language model"""

    disable_llmalert: bool = Field(
        default=True, description="Do not ask a language model; false to ask one (needs the extra llm)."
    )
    llmalert_cron_schedule: Cron = Field(
        default="*/5 * * * *",
        description="When to ask: in the DAG's run whose window holds a tick of this cron.",
    )
    llmalert_default_schedule_status: Status = Field(
        default=None, description="STOPPED asks in runs started by hand only; RUNNING or unset in every run."
    )
    llmalert_conn_id: Name = Field(
        default="pydanticai_default",
        description="Airflow connection of the model's provider, of any type of the common.ai provider.",
    )
    llmalert_model: OptionalText = Field(
        default=None, description="Name of the model, such as openai:gpt-5; unset is the connection's own."
    )
    llmalert_timeout: Duration = Field(default=timedelta(minutes=1), description="Time that one question may take.")
    llmalert_run_timeout: Duration = Field(
        default=timedelta(minutes=10), description="Time that the questions of a run may take; its alerts wait so long."
    )
    llmalert_max_metrics: AtLeastOne = Field(
        default=50, description="Metrics that a run asks about, at most; those that waited longest come first."
    )
    llmalert_prompt_max_chars: AtLeastOne = Field(
        default=100_000, description="Characters of a question, at most; a longer one is not asked."
    )
    llmalert_answer_max_tokens: AtLeastOne = Field(default=4000, description="Tokens of an answer, at most.")
    llmalert_recent_n: AtLeastOne = Field(default=5, description="Newest points whose anomalies count.")
    llmalert_smooth_n: Count = Field(
        default=0, description="Points of the rolling mean that the model sees; 0 or 1 does not smooth."
    )
    llmalert_metric_rounding: Decimals = Field(
        default=-1, description="Decimal places of the values the model sees; -1 keeps all."
    )
    llmalert_metric_timestamp_max_days_ago: AtLeastOne = Field(
        default=30, description="Show the model points of so many days, at most."
    )
    llmalert_prompt_max_n: AtLeastOne = Field(default=1000, description="Points the model sees of a metric, at most.")
    llmalert_include_plot: bool = Field(default=True, description="Show the model the chart too.")
    llmalert_anomaly_agent_detection_prompt: OptionalText = Field(
        default=None, description="Instructions for finding anomalies instead of the built-in ones."
    )
    llmalert_anomaly_agent_system_prompt: OptionalText = Field(
        default=None, description="Older spelling of llmalert_anomaly_agent_detection_prompt."
    )
    llmalert_anomaly_agent_verification_prompt: OptionalText = Field(
        default=None, description="Instructions for checking what was found instead of the built-in ones."
    )
    prompt_fn: OptionalText = Field(
        default=None,
        description="Python text (Jinja) with a function make_prompt(df, llmalert_recent_n) that writes the prompt "
        "instead.",
    )
    llmalert_sql: OptionalText = Field(default=None, description="SQL (Jinja) that reads the points to show instead.")


class Reports(Section):
    """Plot, dashboard and summary"""

    disable_plot: bool = Field(default=False, description="No plot task: do not draw the batch's metrics.")
    plot_cron_schedule: Cron = Field(
        default="*/5 * * * *",
        description="When to draw: in the DAG's run whose window holds a tick of this cron.",
    )
    plot_default_schedule_status: Status = Field(
        default=None,
        description="RUNNING or STOPPED: STOPPED leaves the task out where ingest_default_schedule_status is RUNNING.",
    )
    plot_sql: OptionalText = Field(
        default=None,
        description="SQL (Jinja) that reads the points to draw instead: metric_timestamp, metric_name, metric_value "
        "and, as far as they are known, metric_score and metric_alert.",
    )
    disable_dashboard: bool = Field(default=False, description="Leave the batch out of the dashboard.")
    dashboard_stale_metric_max_days_ago: AtLeastOne = Field(
        default=7,
        description="Days after which the dashboard hides a metric without new values, and for which the summary "
        "names it.",
    )
    dashboard_sql: OptionalText = Field(
        default=None,
        description="SQL (Jinja) that reads the dashboard's points instead: metric_timestamp, metric_name, "
        "metric_value and, as far as they are known, metric_score, metric_alert and metric_change.",
    )
    disable_summary: bool = Field(default=False, description="Leave the batch out of the summary.")
    summary_cron_schedule: Cron = Field(default="0 9 * * *", description="When the summary is sent.")
    summary_default_schedule_status: Status = Field(default=None, description=_STATUS)
    summary_metric_timestamp_max_days_ago: AtLeastOne = Field(default=1, description="Days that a summary covers.")
    summary_sql: OptionalText = Field(
        default=None,
        description="SQL (Jinja) that counts instead: metric_name, n_metric, n_score, n_alert, and metric_batch if it "
        "counts for others too.",
    )


class Cleanup(Section):
    """Cleanup"""

    disable_delete: bool = Field(
        default=False, description="Never delete old rows, finished deliveries and models that nobody reads."
    )
    delete_cron_schedule: Cron = Field(
        default="0 6 * * *", description="When to delete, in a DAG of all batches with this cron and timezone."
    )
    delete_default_schedule_status: Status = Field(default=None, description=_STATUS)
    delete_after_n_days: AtLeastOne = Field(
        default=365,
        description="Age in days at which a row is deleted; with history_start nothing older is loaded; "
        "365 with recipe anomstack.",
    )
    delete_sql: OptionalText = Field(
        default=None, description="SQL (Jinja) that deletes from the metrics table instead, one statement."
    )


class Keys(
    Prometheus,
    Cleanup,
    Reports,
    LanguageModelAlerts,
    Change,
    ThresholdAlerts,
    Delivery,
    Alerts,
    Score,
    Train,
    Storage,
    Ingest,
    Calendar,
    Schedule,
    Identity,
):
    """All keys of a batch, each checked by itself."""

    def all_gates(self) -> Iterator[tuple[Path, Gates]]:
        """Yield each set of gates with its place."""
        yield ("alert_gates",), self.alert_gates
        for pattern, entry in self.metric_settings.items():
            yield ("metric_settings", pattern, "alert_gates"), entry.alert_gates


SECTIONS: tuple[type[Section], ...] = (
    Identity,
    Ingest,
    Schedule,
    Calendar,
    Storage,
    Train,
    Score,
    Alerts,
    Delivery,
    ThresholdAlerts,
    Change,
    LanguageModelAlerts,
    Reports,
    Cleanup,
    Prometheus,
)
