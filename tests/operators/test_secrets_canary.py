"""
Secrets are planted wherever a user keeps them, whole DAGs run, in which all is well and in which each part fails.

Then everything that is left is searched for them: what was printed and logged, Airflow's own tables (XComs, rendered
templates, serialised DAGs, docs), our tables, messages, charts, and what the command line says.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb
import psycopg2
import pytest
from airflow.sdk import DAG

from anomstack_provider.cli import main
from tests.alert_fixtures import connect_mail
from tests.dag_fixtures import DAG_FILE

# Not one is part of another; each has characters that quoting changes.
SECRETS = {
    name: f"canary+{name}" + ("" if name == "webhook" else "/") + "of=w8Q"
    for name in (
        "source", "smtp", "slack", "webhook", "s3", "s3key", "motherduck", "postgres", "mysql", "openai", "airflowvar",
    )
}  # fmt: skip
BATCH = """
    metric_batch: {name}
    schedule: "@daily"
    train_cron_schedule: "@daily"
    start_date: 2024-01-01
    table_key: {name}_metrics
    retries: 0
    ingest_sql: |
      SELECT day AS metric_timestamp, name AS metric_name,
          CASE WHEN name = 'calls' AND day = DATE '2024-03-05' THEN 900 ELSE 100 + dayofyear(day) % 5 END
              AS metric_value
      FROM generate_series(DATE '{{{{ ds }}}}' - 59, DATE '{{{{ ds }}}}', INTERVAL 1 DAY) AS days(day),
          (VALUES ('calls'), ('visits')) AS names(name) {more_sql}
    preprocess_params: {{diff_n: 0, smooth_n: 0, lags_n: 0}}
    model_configs: [{{model_name: KNN}}]
    alert_smooth_n: 0
    alert_snooze_n: 0
    alert_threshold: 0.99
    disable_change: true
    alert_methods: email,slack,slack_webhook
    slack_channel: "#alerts"
    slack_webhook_conn_id: hook
    email_to: team@example.com
    {keys}
"""


def spellings(secret: str) -> list[bytes]:
    """Return a secret as it may be found: plain, in a URL, and in base64 at each of the three places in its groups."""
    plain = secret.encode()
    coded = [
        base64.b64encode(b"x" * before + plain)[4 if before else 0 : (before + len(plain)) // 3 * 4]
        for before in range(3)
    ]
    return [plain, quote(secret, safe="").encode(), quote(secret).encode(), *coded]


def found_in(place: str, content: bytes | str) -> list[str]:
    content = content.encode("utf-8", "replace") if isinstance(content, str) else content
    hits = []
    for name, secret in SECRETS.items():
        for spelling in spellings(secret):
            at = content.find(spelling)
            if at >= 0:
                hits.append(f"{place}: {name}: ...{content[max(0, at - 150) : at + 60]!r}")
                break
    return hits


@pytest.fixture
def planted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: Path, mail_server: Any, slack_server: Any
) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        closed = free.getsockname()[1]
    connections: dict[str, dict[str, Any]] = {
        "SOURCE": {"conn_type": "duckdb", "host": str(tmp_path / "source.duckdb"), "login": SECRETS["source"]},
        "DUCK": {"conn_type": "duckdb", "host": f"{tmp_path}/no/x.duckdb?motherduck_token={SECRETS['motherduck']}"},
        "GONE": {
            "conn_type": "postgres", "host": "127.0.0.1", "port": closed, "login": "joe",
            "password": SECRETS["postgres"], "schema": "db", "extra": {"application_name": "x"},
        },
        "S3": {
            "conn_type": "aws", "login": SECRETS["s3key"], "password": SECRETS["s3"],
            "extra": {"endpoint_url": f"http://127.0.0.1:{closed}", "region_name": "us-east-1",
                      "config_kwargs": {"connect_timeout": 1, "read_timeout": 1, "retries": {"max_attempts": 1}}},
        },
        "HOOK": {
            "conn_type": "slackwebhook", "host": f"{slack_server.url}services",
            "password": f"T000/B000/{SECRETS['webhook']}",
            "extra": {"timeout": 5},
        },
        "SLACK_API_DEFAULT": {
            "conn_type": "slack", "password": SECRETS["slack"], "extra": {"base_url": slack_server.url, "timeout": 5},
        },
    }  # fmt: skip
    for name, connection in connections.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))
    connect_mail(monkeypatch, mail_server.port, login="joe", password=SECRETS["smtp"])
    monkeypatch.setenv("ANOMSTACK_OPENAI_KEY", SECRETS["openai"])
    monkeypatch.setenv("ANOMSTACK_SLACK_BOT_TOKEN", SECRETS["slack"])
    monkeypatch.setenv("ANOMSTACK_MOTHERDUCK_TOKEN", SECRETS["motherduck"])
    monkeypatch.setenv("ANOMSTACK_AWS_SECRET_ACCESS_KEY", SECRETS["s3"])
    monkeypatch.setenv("AIRFLOW_VAR_TOKEN", SECRETS["airflowvar"])
    yield
    for name in ("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "_AIRFLOW_PARSING_CONTEXT_TASK_ID"):
        os.environ.pop(name, None)


@pytest.fixture
def make_dags(planted: None, metrics_dir: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Make the DAGs of batches in an Airflow that knows nothing yet."""

    def make(**batches: dict[str, str]) -> dict[str, Any]:
        migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
        done = subprocess.run(migrate, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        folder = metrics_dir(**{f"{name}_yaml": BATCH.format(name=name, **more) for name, more in batches.items()})
        monkeypatch.setenv("AIRFLOW__ANOMSTACK__METRICS_DIR", folder)
        path = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"]) / "anomstack_dags.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(DAG_FILE.format(folder), "utf-8")
        names: dict[str, Any] = {"__file__": str(path), "__name__": "anomstack_dags"}
        exec(compile(path.read_text("utf-8"), str(path), "exec"), names)
        return {name: value for name, value in names.items() if isinstance(value, DAG)}

    return make


@pytest.fixture
def dags(make_dags: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """A batch whose parts all work, and one for each part that fails."""
    return make_dags(
        fine={"keys": "conn_id: source", "more_sql": ""},
        refused={"keys": "conn_id: source", "more_sql": ", no_such_table -- {{ var.value.get('token', '')[:0] }}"},
        unreachable={"keys": "conn_id: gone", "more_sql": ""},
        duck={"keys": "conn_id: duck", "more_sql": ""},
        models={"keys": 'conn_id: source\n    model_path: "s3://s3@bucket/models"', "more_sql": ""},
        told={"keys": "conn_id: source", "more_sql": ""},
    )


@pytest.fixture
def postgres_lock(postgres_socket: str) -> dict[str, Any]:
    """Return a connection to PostgreSQL with a password that it refuses."""
    folder = postgres_socket.replace("%2F", "/")
    with closing(psycopg2.connect(host=folder, user="postgres", dbname="postgres")) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(
            "DO $$ BEGIN CREATE ROLE joe LOGIN PASSWORD 'right'; EXCEPTION WHEN duplicate_object THEN END $$"
        )
        cursor.execute("SHOW hba_file")
        rules = Path(cursor.fetchone()[0])
        asked = "local all joe scram-sha-256\n"
        if not rules.read_text().startswith(asked):
            rules.write_text(asked + rules.read_text())
        cursor.execute("SELECT pg_reload_conf()")
    return {"conn_type": "postgres", "host": folder, "schema": "postgres"}


@pytest.fixture
def mysql_lock(mariadb_socket: str) -> dict[str, Any]:
    """Return a connection to MariaDB with a password that it refuses."""
    import MySQLdb

    with closing(MySQLdb.connect(unix_socket=mariadb_socket, user="root")) as connection:
        connection.cursor().execute("CREATE USER IF NOT EXISTS joe@localhost IDENTIFIED BY 'right'")
    return {"conn_type": "mysql", "host": "localhost", "schema": "mysql", "extra": {"unix_socket": mariadb_socket}}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("engine", "said"), [("postgres", "password authentication failed"), ("mysql", "Access denied for user 'joe'")]
)
def test_a_password_that_a_database_refuses_is_nowhere(
    engine: str,
    said: str,
    make_dags: Callable[..., dict[str, Any]],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    refusing = request.getfixturevalue(f"{engine}_lock") | {"login": "joe", "password": SECRETS[engine]}
    monkeypatch.setenv("AIRFLOW_CONN_LOCKED", json.dumps(refusing))
    both = make_dags(
        source={"keys": "conn_id: locked\n    metrics_conn_id: source", "more_sql": ""},
        store={"keys": "conn_id: source\n    metrics_conn_id: locked", "more_sql": ""},
    )
    for name in ("source", "store"):
        assert _run(both[f"anomstack_{name}"]) == "failed"
    ran = capfd.readouterr()
    assert (ran.out + ran.err).count(said) >= 2, "both were asked with the password"
    for name in ("source", "store"):
        period = ["--start", "2024-03-05", "--end", "2024-03-06"]
        for command in (["preview", name, *period, "--ingest"], ["deliveries", name]):
            try:
                main(command)
            except Exception:
                traceback.print_exc()  # as a program does that ends so
    main(["validate", "--connections"])
    told = capfd.readouterr()
    assert told.err.count(said) >= 2
    printed = "".join([*ran, *told])
    hits = found_in("printed", printed) + found_in("log", caplog.text)
    hits += [hit for name, content in _airflows_tables().items() for hit in found_in(name, content)]
    assert hits == []


@pytest.mark.timeout(300)
def test_a_planted_secret_is_nowhere(
    dags: dict[str, Any],
    tmp_path: Path,
    mail_server: Any,
    slack_server: Any,
    answer: Any,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    states = {}
    for name in ("fine", "refused", "unreachable", "duck", "models"):
        states[name] = _run(dags[f"anomstack_{name}"])
    # Every channel refuses and repeats what it was given, as servers do.
    mail_server.login_answer = f"535 5.7.8 not {SECRETS['smtp']}"
    slack_server.answers["chat.postMessage"] = [
        answer(json.dumps({"ok": False, "error": f"no {SECRETS['slack']}"}).encode())
    ] * 9
    slack_server.answers["webhook"] = [answer(f"no such hook {SECRETS['webhook']}".encode(), 404)] * 9
    states["told"] = _run(dags["anomstack_told"])
    assert states == {name: "success" if name == "fine" else "failed" for name in states}
    for job in ("check", "summary", "delete"):
        of_folder = [dag for dag_id, dag in dags.items() if dag_id.startswith(f"anomstack_{job}_of")]
        assert of_folder
        states |= {dag.dag_id: _run(dag, datetime(2024, 3, 7, tzinfo=UTC)) for dag in of_folder}
    assert states["anomstack_check_of_batches"] == "failed"
    for batch in ("fine", "refused", "unreachable", "duck", "models"):
        period = ["--start", "2024-03-05", "--end", "2024-03-06"]
        main(["preview", batch, *period, "--ingest", "--charts", str(tmp_path / "charts")])
    main(["validate", "--connections"])
    main(["deliveries", "fine"])
    main(["deliveries", "told"])

    printed = capfd.readouterr()
    with duckdb.connect(str(tmp_path / "source.duckdb")) as connection:
        owed = dict(
            connection.execute("SELECT channel, error FROM told_metrics_deliveries WHERE attempts > 0").fetchall()
        )
    assert sorted(owed) == ["email", "slack", "slack_webhook"]
    assert "535" in owed["email"], "the password of the mail server was refused"
    assert "no ***" in owed["slack"], "the token was refused"
    hits = found_in("stdout", printed.out) + found_in("stderr", printed.err) + found_in("log", caplog.text)
    tables = _airflows_tables()
    assert "anomstack_fine" in tables["serialized_dag"]
    assert tables["rendered_task_instance_fields"]
    assert tables["xcom"]
    hits += [hit for name, content in tables.items() for hit in found_in(name, content)]
    for path in (tmp_path / "anomstack.duckdb", tmp_path / "source.duckdb"):
        with duckdb.connect(str(path)) as connection:
            for (table,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
                hits += found_in(
                    f"{path.name} {table}", repr(connection.execute(f'SELECT * FROM "{table}"').fetchall())
                )
        hits += found_in(path.name, path.read_bytes())
    assert mail_server.received
    for _, mail in mail_server.received:
        hits += found_in("mail", mail.as_bytes())
        hits += [hit for part in mail.walk() for hit in found_in("mail", part.get_payload(decode=True) or b"")]
    assert {"chat.postMessage", "webhook", "upload"} <= set(slack_server.methods())
    hits += [hit for method, sent in slack_server.calls for hit in found_in(f"slack {method}", repr(sent))]
    files = [
        path for path in tmp_path.rglob("*") if path.is_file() and path.suffix in {".png", ".json", ".bin", ".yaml"}
    ]
    assert {".png", ".json", ".bin"} <= {path.suffix for path in files}
    hits += [hit for path in files for hit in found_in(path.name, path.read_bytes())]
    assert hits == []


def test_the_search_would_find_them() -> None:
    for name, secret in SECRETS.items():
        for form in (secret, f"x{quote(secret, safe='')}", json.dumps({"a": secret}), repr({"a": secret})):
            assert any(f": {name}: " in hit for hit in found_in("here", form))
        for before in range(3):
            coded = base64.b64encode(b"y" * before + secret.encode() + b"zz")
            assert any(f": {name}: " in hit for hit in found_in("here", coded))


def _run(dag: DAG, logical_date: datetime = datetime(2024, 3, 6, tzinfo=UTC)) -> str:
    return str(dag.test(logical_date=logical_date).state.value)


def _airflows_tables() -> dict[str, str]:
    """Return the content of every table of Airflow's database, whatever it is for; serialised DAGs unpacked."""
    import zlib

    from airflow.settings import engine
    from sqlalchemy import inspect, text

    contents = {}
    with engine.connect() as connection:
        for table in inspect(engine).get_table_names():
            rows = connection.execute(text(f'SELECT * FROM "{table}"')).fetchall()
            values = [value for row in rows for value in row]
            unpacked = []
            for value in values:
                if isinstance(value, bytes):
                    try:
                        unpacked.append(zlib.decompress(value).decode("utf-8", "replace"))
                    except zlib.error:
                        unpacked.append(value.decode("utf-8", "replace"))
            contents[table] = "\n".join([*map(str, values), *unpacked])
    return contents
