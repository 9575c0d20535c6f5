"""``anomstack preview`` of a batch whose table is empty: what it asks the query for, and what it says of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anomstack_provider.cli import main

BATCH = """
metric_batch: shop
schedule: "@daily"
history_start: {history_start}
ingest_sql: |
  SELECT day AS metric_timestamp, 'orders' AS metric_name, 100 + dayofmonth(day) % 3 AS metric_value
  FROM generate_series(
    TIMESTAMP '{{{{ data_interval_start }}}}', TIMESTAMP '{{{{ data_interval_end }}}}' - INTERVAL 1 DAY, INTERVAL 1 DAY
  ) days(day)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "metrics").mkdir()
    monkeypatch.setenv("AIRFLOW__ANOMSTACK__METRICS_DIR", str(tmp_path / "metrics"))
    monkeypatch.setenv("AIRFLOW__ANOMSTACK__DUCKDB_PATH", str(tmp_path / "metrics.duckdb"))
    return tmp_path / "metrics"


@pytest.mark.parametrize(
    ("history_start", "fetched"),
    [("2025-12-01", "2025-12-01"), ("2026-02-03", "2026-02-03"), ("2020-01-01", "2024-01-1"), ("", "2024-01-1")],
)
def test_no_more_history_is_fetched_than_live_runs_have(
    home: Path, capsys: pytest.CaptureFixture[str], history_start: str, fetched: str
) -> None:
    (home / "shop.yaml").write_text(BATCH.format(history_start=history_start), "utf-8")
    assert main(["preview", "shop", "--start", "2026-02-01", "--end", "2026-02-10"]) == 0
    assert f"ingesting {fetched}" in capsys.readouterr().err


@pytest.mark.parametrize(("end", "said"), [("2026-02-10", False), ("2999-01-01", True)])
def test_a_period_that_is_not_over_is_said(
    home: Path, capsys: pytest.CaptureFixture[str], end: str, said: bool
) -> None:
    (home / "shop.yaml").write_text(
        BATCH.format(history_start="2026-01-01").replace("generate_series", "no_such_function"), "utf-8"
    )
    main(["preview", "shop", "--start", "2026-02-01", "--end", end])
    assert ("ends in the future" in capsys.readouterr().err) == said


def test_without_alerts_on_scores_thresholds_are_told_as_live_runs_tell_them(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = BATCH.format(history_start="2026-01-01") + "disable_alert: true\n"
    (home / "shop.yaml").write_text(text, "utf-8")
    period = ["--start", "2026-02-01", "--end", "2026-02-10"]
    assert main(["preview", "shop", *period]) == 0
    assert "0 alerts would have been sent; events: none\n\n  disable_alert is set: a live run sends none" in (
        capsys.readouterr().out
    )
    text += "disable_tholdalert: false\ntholdalert_thresholds: {orders: {lower: 101}}\n"
    (home / "shop.yaml").write_text(text, "utf-8")
    assert main(["preview", "shop", *period]) == 0
    out = capsys.readouterr().out
    assert "disable_alert is set: a live run tells of no score" in out
    assert "opened    [MEDIUM] shop · orders below 101 (threshold): 100 (Tue 3 Feb)" in out


def test_what_a_run_reads_is_stated(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "shop.yaml").write_text(BATCH.format(history_start="2025-12-01"), "utf-8")
    period = ["--start", "2026-02-01", "--end", "2026-02-10"]
    assert main(["preview", "shop", *period, "--output", "json"]) == 0
    reads = json.loads(capsys.readouterr().out)["reads_per_run"]
    # A row: name, type, time, value.
    assert reads["ingest"] == {"queries": 1, "rows": 1, "bytes": len("orders") + len("metric") + 16}
    assert set(reads) == {"ingest", "train", "score", "alert"}
    assert main(["preview", "shop", *period]) == 0
    out = capsys.readouterr().out
    assert (
        "\n\none run reads, in bytes of the answers (an engine may bill more):\n"
        "  ingest  1 row, 28 bytes of the source, as far as it is stored, in 1 query\n" in out
    )
    train = reads["train"]
    assert f"  train   {train['rows']} rows, {train['bytes'] / 1e3:.1f} kB of metrics, in 1 query\n" in out
