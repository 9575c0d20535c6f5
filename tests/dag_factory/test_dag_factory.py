"""The DAGs that a metrics folder becomes: their graph, their settings, and what stands in for a broken batch."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pendulum
import pytest
from airflow.sdk import DAG
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anomstack_provider import generate_dags
from anomstack_provider.dag_factory import dag_id_part
from anomstack_provider.runtime.airflow_compat import AirflowFailException

Dags = Callable[..., dict[str, Any]]
HEALTH = "anomstack_health_of_config"
DELETE, CHECK = "anomstack_delete_of_batches", "anomstack_check_of_batches"
# What a folder has beside its batches.
OF_FOLDER = {HEALTH, DELETE, CHECK}


def fails_with(dag: DAG, task_id: str) -> str:
    """Run a task that needs no context and return the message it fails with."""
    with pytest.raises(AirflowFailException) as caught:
        dag.get_task(task_id).execute({})
    return str(caught.value)


def test_a_batch_is_its_steps_in_a_row_and_a_watch_over_them(folder, dags: Dags) -> None:
    folder.batch("sales")
    found = dags()
    assert set(found) == {"anomstack_sales", *OF_FOLDER}
    dag = found["anomstack_sales"]
    assert {t.task_id: t.upstream_task_ids for t in dag.tasks} == {
        "ingest": set(),
        "train": {"ingest"},
        "score": {"train"},
        "alert": {"score"},
        "plot": {"alert"},
        "publish": {"alert"},
        "watch": {"ingest", "train", "score", "alert", "plot", "publish"},
    }
    # Whatever became of the step before; the run is as red as its worst step because the watch is its only leaf.
    assert {t.task_id: t.trigger_rule.value for t in dag.tasks} == {
        "ingest": "all_success",
        "train": "all_done",
        "score": "all_done",
        "alert": "all_done",
        "plot": "all_done",
        "publish": "all_done",
        "watch": "one_failed",
    }


def test_the_settings_of_a_batch_are_those_of_its_dag(folder, dags: Dags) -> None:
    folder.batch(
        "sales",
        """
        timezone: America/New_York
        start_date: 2024-03-01
        catchup: true
        max_active_runs: 2
        retries: 3
        owner: data-team
        tags: [shop, money]
        description: What was sold
        ingest_default_schedule_status: RUNNING
        """,
    )
    dag = dags()["anomstack_sales"]
    assert type(dag.timetable).__name__ == "CronDataIntervalTimetable"  # 3.1 and later have it in two places
    assert dag.start_date == pendulum.datetime(2024, 3, 1, tz="America/New_York")
    assert (dag.catchup, dag.max_active_runs, dag.is_paused_upon_creation) == (True, 2, False)
    assert set(dag.tags) == {"anomstack", "shop", "money"}
    assert dag.description == "What was sold"
    ingest = dag.get_task("ingest")
    assert (ingest.owner, ingest.retries) == ("data-team", 3)


@pytest.mark.parametrize(("status", "paused"), [("RUNNING", False), ("STOPPED", True), (None, None)])
def test_a_new_dag_starts_as_the_batch_says_or_as_airflow_does(
    folder, dags: Dags, status: str | None, paused: bool | None
) -> None:
    folder.batch("sales", f"ingest_default_schedule_status: {status}" if status else "")
    assert dags()["anomstack_sales"].is_paused_upon_creation is paused


@pytest.mark.parametrize("off", ["ingest", "train", "score", "alert", "plot"])
def test_a_step_that_is_switched_off_is_left_out_of_the_row(folder, dags: Dags, off: str) -> None:
    folder.batch("sales", f"disable_{off}: true")
    gone = {off, "publish"} if off == "alert" else {off}
    steps = [step for step in ("ingest", "train", "score", "alert", "plot", "publish") if step not in gone]
    dag = dags()["anomstack_sales"]
    assert [t.task_id for t in dag.topological_sort()] == [*steps, "watch"]
    assert dag.get_task("watch").upstream_task_ids == set(steps)


def test_a_language_model_is_asked_between_score_and_alert_if_it_is_switched_on(folder, dags: Dags) -> None:
    folder.batch("sales", "disable_llmalert: false\nretries: 3")
    dag = dags()["anomstack_sales"]
    row = [task.task_id for task in dag.topological_sort()]
    assert row[:5] == ["ingest", "train", "score", "llmalert", "alert"]
    step = dag.get_task("llmalert")
    assert (step.upstream_task_ids, step.downstream_task_ids) == ({"score"}, {"alert", "watch"})
    # Alerts wait for it, and not for its retries.
    assert (step.trigger_rule.value, step.retries, dag.get_task("alert").retries) == ("all_done", 0, 3)
    folder.batch("sales", "disable_llmalert: false\ndisable_alert: true\ndisable_score: true")
    assert dags()["anomstack_sales"].get_task("alert").upstream_task_ids == {"llmalert"}


def test_one_step_alone_needs_no_watch(folder, dags: Dags) -> None:
    folder.batch("sales", "\n".join(f"disable_{step}: true" for step in ("train", "score", "alert", "plot")))
    assert [t.task_id for t in dags()["anomstack_sales"].tasks] == ["ingest"]


def test_a_batch_that_is_switched_off_has_no_dag(folder, dags: Dags) -> None:
    folder.batch("sales", "disable_batch: true")
    assert set(dags()) == {HEALTH}


def test_shards_map_train_and_score(folder, dags: Dags) -> None:
    folder.batch("sales", "shards: 3")
    dag = dags()["anomstack_sales"]
    assert {t.task_id: t.is_mapped for t in dag.tasks} == {
        "ingest": False,
        "train": True,
        "score": True,
        "alert": False,
        "plot": False,
        "publish": False,
        "watch": False,
    }
    assert dag.get_task("score").expand_input.value == {"shard": [0, 1, 2]}
    assert dag.get_task("alert").upstream_task_ids == {"score"}


def test_the_ui_shows_what_the_batch_is(folder, dags: Dags) -> None:
    folder.batch("sales", "description: What was sold\nalert_threshold: 0.95\nscore_cron_schedule: '*/180 * * * *'")
    doc = dags()["anomstack_sales"].doc_md
    assert "What was sold" in doc
    assert "```sql\nSELECT now()" in doc
    assert "| `alert_threshold` | `0.95` | sales.yaml:" in doc
    assert "'*/180 * * * *' is '0 * * * *' to cron" in doc


def test_values_are_shown_as_yaml_has_them(folder, dags: Dags) -> None:
    folder.batch("sales", "email_to: [a@example.com]\nnotify_on_backfill: true\nhistory_start: 2026-01-01\n"
        "metric_settings: {revenue: {title: Umsatz in €}}")  # fmt: skip
    doc = dags()["anomstack_sales"].doc_md
    assert '| `email_to` | `["a@example.com"]` |' in doc
    assert "| `notify_on_backfill` | `true` |" in doc
    assert "| `history_start` | `2026-01-01` |" in doc
    assert '| `metric_settings` | `{"revenue": {"title": "Umsatz in €"}}` |' in doc


# --- broken batches --------------------------------------------------------------------------------------------------


def test_a_broken_batch_is_a_stub_of_the_same_id_and_its_neighbours_are_whole(folder, dags: Dags) -> None:
    folder.batch("fine")
    folder.write("bad.yaml", "metric_batch: bad\nschedule: '@daily'\nalert_treshold: 1\ningest_sql: SELECT 1\n")
    found = dags()
    assert set(found) == {"anomstack_fine", "anomstack_bad", *OF_FOLDER}
    assert "ingest" in found["anomstack_fine"].task_ids
    stub = found["anomstack_bad"]
    assert set(stub.tags) == {"anomstack", "config-error"}
    expected = "bad.yaml:3: alert_treshold: unknown key; did you mean 'alert_threshold'?"
    assert expected in stub.doc_md
    assert expected in fails_with(stub, "config_error")
    assert expected in stub.description
    assert expected in fails_with(found[HEALTH], "check")
    assert "config-error" in found[HEALTH].tags


def test_all_mistakes_of_a_batch_are_named_at_once(folder, dags: Dags) -> None:
    folder.write("bad.yaml", "metric_batch: bad\ntrain_min_n: many\nshards: 0\ningest_sql: SELECT 1\n")
    message = fails_with(dags()["anomstack_bad"], "config_error")
    assert "bad.yaml:2: train_min_n: " in message
    assert "bad.yaml:3: shards: " in message


def test_a_file_that_is_no_yaml_keeps_the_name_it_shows(folder, dags: Dags) -> None:
    folder.write("bad.yaml", "metric_batch: bad\ningest_sql: 'never closed\n")
    assert re.search(r"bad\.yaml:\d", fails_with(dags()["anomstack_bad"], "config_error"))


def test_the_users_own_jinja_in_a_message_is_not_rendered(folder, dags: Dags) -> None:
    folder.write("bad.yaml", "metric_batch: bad\nshards: '{{ ds }}'\ningest_sql: SELECT 1\n")
    task = dags()["anomstack_bad"].get_task("config_error")
    assert "errors" not in task.template_fields
    assert "{{ ds }}" in fails_with(dags()["anomstack_bad"], "config_error")


def test_two_files_with_one_name_are_one_stub_that_names_both(folder, dags: Dags) -> None:
    folder.write("one/a.yaml", "metric_batch: twice\ningest_sql: SELECT 1\n")
    folder.write("two/b.yaml", "metric_batch: twice\ningest_sql: SELECT 2\n")
    found = dags()
    assert set(found) == {"anomstack_twice", HEALTH}
    message = fails_with(found["anomstack_twice"], "config_error")
    assert "one/a.yaml:1: " in message
    assert "two/b.yaml:1: " in message


def test_what_only_airflow_refuses_makes_a_stub_too(folder, dags: Dags) -> None:
    folder.batch("fine")
    folder.batch("bad", f"tags: [{'x' * 120}]")
    found = dags()
    assert "ingest" in found["anomstack_fine"].task_ids
    message = fails_with(found["anomstack_bad"], "config_error")
    assert "bad.yaml" in message
    assert "tag" in message.lower()
    assert message.splitlines()[-1] in found[HEALTH].doc_md


def test_a_batch_cannot_take_the_place_of_the_health_dag(folder, dags: Dags) -> None:
    folder.batch("health_of_config")
    found = dags()
    assert [t.task_id for t in found[HEALTH].tasks] == ["check"]
    batch = next(dag for dag_id, dag in found.items() if dag_id not in OF_FOLDER)
    assert "ingest" in batch.task_ids


@pytest.mark.parametrize("what", ["missing", "file", "nul"])
def test_a_folder_that_cannot_be_read_is_told_by_the_health_dag(tmp_path: Path, what: str) -> None:
    path = {"missing": str(tmp_path / "gone"), "file": str(tmp_path / "file"), "nul": "a\0b"}[what]
    (tmp_path / "file").write_text("")
    found = generate_dags(path)
    assert set(found) == {HEALTH}
    assert path.replace("\0", "") in found[HEALTH].doc_md.replace("\0", "").replace("\\x00", "")
    with pytest.raises(Exception, match=r"metrics folder|null byte"):
        found[HEALTH].get_task("check").execute({})


def test_the_health_of_a_good_folder_is_good(folder, dags: Dags) -> None:
    folder.batch("a")
    folder.batch("b")
    assert dags()[HEALTH].get_task("check").execute({}) == {"batches": 2}
    assert set(dags()[HEALTH].tags) == {"anomstack"}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    content=st.one_of(
        st.binary(max_size=200),
        st.text(max_size=200).map(lambda text: ("metric_batch: x\n" + text).encode("utf-8", "replace")),
        st.sampled_from(
            [
                b"metric_batch: [1]\n",
                b"metric_batch: ''\n",
                b"- 1\n- 2\n",
                b"metric_batch: x\ningest_sql: {a: b}\n",
                b"metric_batch: x\nschedule: '99 * * * *'\ningest_sql: SELECT 1\n",
                b"metric_batch: x\nstart_date: tomorrow\ningest_sql: SELECT 1\n",
                b"metric_batch: x\ntimezone: Mars/Base\ningest_sql: SELECT 1\n",
                b"metric_batch: x\nowner: []\ningest_sql: SELECT 1\n",
                b"a: &a [*a]\n",
                b"\xff\xfe\x00",
                b"metric_batch: x\ningest_sql: '{% include %}'\n",
            ]
        ),
    )
)
def test_no_content_of_a_file_makes_it_raise(folder, dags: Dags, content: bytes) -> None:
    folder.batch("fine")
    (folder.path / "odd.yaml").write_bytes(content)
    found = dags()
    assert {"anomstack_fine", HEALTH} <= set(found)
    assert "ingest" in found["anomstack_fine"].task_ids


# --- names -----------------------------------------------------------------------------------------------------------

WEIRD = [
    "a b",
    "a/b",
    "../../etc",
    "it's",
    'say "hi"',
    "sales.eu",
    "émoji 🎉",
    "日本",
    "A",
    "a",
    "-",
    "  x",
    "x" * 200,
    "a_b",
]


def test_weird_names_have_dags_of_their_own(folder, dags: Dags) -> None:
    for number, name in enumerate(WEIRD):
        folder.write(f"{number}.yaml", f"metric_batch: {json.dumps(name, ensure_ascii=False)}\ningest_sql: SELECT 1\n")
    found = dags()
    assert len(found) == len(WEIRD) + len(OF_FOLDER)
    assert len(found[DELETE].task_ids) == len(WEIRD)
    for dag in found.values():
        assert re.fullmatch(r"[A-Za-z0-9_.-]{1,250}", dag.dag_id)
        assert "config-error" not in dag.tags
    batches = {dag.get_task("ingest").metric_batch for dag_id, dag in found.items() if dag_id not in OF_FOLDER}
    assert batches == set(WEIRD)


def test_plain_names_stay_readable_and_others_nearly_so() -> None:
    assert dag_id_part("sales.eu-1_x") == "sales.eu-1_x"
    assert re.fullmatch(r"net_sales_eu_[0-9a-f]{8}", dag_id_part("net sales (eu)"))


@given(st.lists(st.text(min_size=1, max_size=200).filter(str.strip), min_size=2, max_size=20, unique=True))
def test_different_names_are_different_valid_ids(names: list[str]) -> None:
    parts = [dag_id_part(name) for name in names]
    assert len(set(parts)) == len(names)
    for part in parts:
        assert re.fullmatch(r"[A-Za-z0-9_.-]{1,180}", part)


def test_the_prefix_is_the_callers(folder, dags: Dags) -> None:
    folder.batch("sales")
    assert set(dags(dag_id_prefix="team_")) == {
        "team_sales",
        *(dag_id.replace("anomstack", "team") for dag_id in OF_FOLDER),
    }


# --- parsing ---------------------------------------------------------------------------------------------------------


def test_a_worker_builds_the_one_dag_that_it_runs(folder, dags: Dags, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.batch("a")
    folder.batch("b")
    folder.write("bad.yaml", "metric_batch: bad\nshards: 0\ningest_sql: SELECT 1\n")

    def within(dag_id: str) -> set[str]:
        monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", dag_id)
        return set(dags())

    assert within("anomstack_a") == {"anomstack_a"}
    assert within("anomstack_bad") == {"anomstack_bad"}
    assert within(HEALTH) == {HEALTH}
    assert within("of_another_file") == set()


def test_a_worker_that_runs_the_health_check_knows_what_airflow_refuses(
    folder, dags: Dags, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.batch("bad", f"tags: [{'x' * 120}]")
    folder.batch("health_of_config")
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", HEALTH)
    found = dags()
    assert set(found) == {HEALTH}
    assert "bad.yaml: " in fails_with(found[HEALTH], "check")


def test_a_relative_folder_is_beside_the_dag_file(folder, in_file) -> None:
    folder.batch("sales")
    found = in_file(folder.path.parent / "dags.py", "generate_dags('metrics')")
    assert "anomstack_sales" in found
    assert found["anomstack_sales"].get_task("ingest").metrics_dir == str(folder.path)


def test_without_a_name_it_is_the_configured_folder_or_metrics_beside_the_file(
    folder, in_file, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.batch("sales")
    assert "anomstack_sales" in in_file(folder.path.parent / "dags.py", "generate_dags()")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert "anomstack_sales" not in in_file(elsewhere / "dags.py", "generate_dags()")
    monkeypatch.setenv("AIRFLOW__ANOMSTACK__METRICS_DIR", str(folder.path))
    assert "anomstack_sales" in in_file(elsewhere / "dags.py", "generate_dags()")


@pytest.fixture
def in_file() -> Callable[[Path, str], dict[str, Any]]:
    """Return a function that runs a DAG file with one call in it and returns the DAGs it leaves."""

    def run(path: Path, call: str) -> dict[str, Any]:
        source = f"from anomstack_provider import generate_dags\nglobals().update({call})\n"
        names: dict[str, Any] = {"__file__": str(path), "__name__": "dag_file"}
        exec(compile(source, str(path), "exec"), names)
        return {name: value for name, value in names.items() if isinstance(value, DAG)}

    return run


def test_no_connection_variable_or_database_is_asked_for(folder, dags: Dags, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.batch("sales", "conn_id: warehouse\nmodel_path: s3://store@bucket/models")

    def refuse(*arguments: object, **options: object) -> SimpleNamespace:
        raise AssertionError("asked for while parsing")

    monkeypatch.setattr("airflow.sdk.BaseHook.get_connection", refuse)
    monkeypatch.setattr("airflow.sdk.Variable.get", refuse)
    monkeypatch.setattr("sqlalchemy.engine.base.Engine.connect", refuse)
    assert "config-error" not in dags()["anomstack_sales"].tags


# --- the summary of all batches


SUMMARY, TEAM = "anomstack_summary_of_batches", "email_to: team@example.com"


def test_batches_that_share_a_channel_share_a_summary(folder, dags: Dags) -> None:
    for name in ("a", "b"):
        folder.batch(name, TEAM)
    folder.batch("c", "email_to: team@example.com,boss@example.com\nslack_channel: '#data'")
    folder.batch("not in it", f"{TEAM}\ndisable_summary: true")
    folder.batch("later", f"{TEAM}\nsummary_cron_schedule: 0 12 * * *\ntimezone: Europe/Berlin")
    found = dags()
    dag = found[SUMMARY]
    assert {task.task_id: task.batches for task in dag.tasks} == {
        "send_0_email": ["a", "b"],
        "send_1_email": ["c"],
        "send_2_slack": ["c"],
    }
    assert all(not task.upstream_task_ids and task.retries == 1 for task in dag.tasks)
    (other,) = [dag_id for dag_id in found if dag_id.startswith(f"{SUMMARY}_")]
    assert [task.batches for task in found[other].tasks] == [["later"]]


def test_without_a_channel_there_is_no_summary(folder, dags: Dags) -> None:
    folder.batch("a")
    assert SUMMARY not in dags()


def test_a_batch_cannot_take_the_name_of_the_summary(folder, dags: Dags) -> None:
    folder.batch("summary_of_batches", TEAM)
    found = dags()
    assert [task.task_id for task in found[SUMMARY].tasks] == ["send_0_email"]
    assert len(found) == 2 + len(OF_FOLDER)


def test_a_worker_builds_the_summary_alone(folder, dags: Dags, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.batch("a", TEAM)
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", SUMMARY)
    assert set(dags()) == {SUMMARY}


def test_a_summary_that_cannot_be_made_stops_no_batch(folder, dags: Dags, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no channels today")

    folder.batch("a", TEAM)
    monkeypatch.setattr("anomstack_provider.folder_dags.open_channels", refuse)
    found = dags()
    assert set(found) == {"anomstack_a", *OF_FOLDER}
    assert "the summary: RuntimeError: no channels today" in fails_with(found[HEALTH], "check")


def test_summaries_that_start_otherwise_are_dags_of_their_own(folder, dags: Dags) -> None:
    folder.batch("a", TEAM)
    folder.batch("b", f"{TEAM}\nsummary_default_schedule_status: RUNNING")
    found = dags()
    (running,) = [dag_id for dag_id in found if dag_id.startswith(f"{SUMMARY}_")]
    assert (found[SUMMARY].is_paused_upon_creation, found[running].is_paused_upon_creation) == (None, False)
    assert [task.batches for task in found[running].tasks] == [["b"]]


# --- deleting, checking and plotting


def test_batches_are_deleted_from_by_schedule_timezone_and_status(folder, dags: Dags) -> None:
    folder.batch("a", "retries: 4\nowner: data-team")
    folder.batch("b c")
    folder.batch("keeps", "disable_delete: true")
    folder.batch("off", "disable_batch: true")
    folder.batch("berlin", "timezone: Europe/Berlin")
    folder.batch("later", "delete_cron_schedule: 0 12 * * *\ndelete_default_schedule_status: STOPPED")
    found = dags()
    tasks = {task.metric_batch: task for task in found[DELETE].tasks}
    assert set(tasks) == {"a", "b c"}
    assert tasks["a"].task_id == "a"
    assert re.fullmatch(r"b_c_[0-9a-f]{8}", tasks["b c"].task_id)
    assert (tasks["a"].retries, tasks["a"].owner) == (4, "data-team")
    assert all(not task.upstream_task_ids for task in tasks.values())
    assert found[DELETE].is_paused_upon_creation is None
    others = {
        task.metric_batch: found[dag_id]
        for dag_id in found
        if dag_id.startswith(f"{DELETE}_")
        for task in found[dag_id].tasks
    }
    assert set(others) == {"berlin", "later"}
    assert others["later"].is_paused_upon_creation is True


def test_a_folder_without_batches_has_nothing_to_delete_or_check(folder, dags: Dags) -> None:
    folder.batch("sales", "disable_batch: true")
    assert set(dags()) == {HEALTH}


def test_a_batch_cannot_take_the_names_of_these_dags(folder, dags: Dags) -> None:
    folder.batch("delete_of_batches")
    folder.batch("check_of_batches")
    found = dags()
    assert len(found) == 2 + len(OF_FOLDER)
    assert {task.metric_batch for task in found[DELETE].tasks} == {"delete_of_batches", "check_of_batches"}
    assert found[CHECK].task_ids == ["check"]


def test_the_check_starts_by_itself_once_a_day(folder, dags: Dags) -> None:
    folder.batch("a")
    assert dags()[CHECK].is_paused_upon_creation is False
    assert dags()[CHECK].get_task("check").retries == 1


@pytest.mark.parametrize("dag_id", [DELETE, CHECK])
def test_a_worker_builds_one_of_them_alone(folder, dags: Dags, monkeypatch: pytest.MonkeyPatch, dag_id: str) -> None:
    folder.batch("a")
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", dag_id)
    assert set(dags()) == {dag_id}


@pytest.mark.parametrize(
    ("ingest", "plot", "is_there"),
    [
        (None, None, True),
        (None, "STOPPED", True),
        ("STOPPED", "STOPPED", True),  # the status of the whole DAG: starting it starts all of it
        ("RUNNING", "STOPPED", False),
        ("RUNNING", None, True),
        ("RUNNING", "RUNNING", True),
    ],
)
def test_a_plot_that_is_stopped_beside_a_running_ingest_is_left_out(
    folder, dags: Dags, ingest: str | None, plot: str | None, is_there: bool
) -> None:
    given = {"ingest": ingest, "plot": plot}
    folder.batch("a", "\n".join(f"{job}_default_schedule_status: {said}" for job, said in given.items() if said))
    assert ("plot" in dags()["anomstack_a"].task_ids) is is_there


@pytest.mark.parametrize("job", ["train", "score", "alert"])
def test_a_job_that_is_stopped_beside_a_running_ingest_is_left_out(folder, dags: Dags, job: str) -> None:
    stopped = f"{job}_default_schedule_status: STOPPED\n"
    everything = ["ingest", "train", "score", "alert", "plot", "publish", "watch"]
    for ingest, left_out in (("RUNNING", {job, *(["publish"] if job == "alert" else [])}), ("STOPPED", set())):
        folder.batch("sales", f"{stopped}ingest_default_schedule_status: {ingest}")
        found = [t.task_id for t in dags()["anomstack_sales"].topological_sort()]
        assert found == [task for task in everything if task not in left_out]
