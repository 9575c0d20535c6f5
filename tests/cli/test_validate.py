"""``anomstack validate``: what is right, what is doubtful, what is wrong, each said once."""

from __future__ import annotations

from pathlib import Path

import pytest

from anomstack_provider.cli import main

_BATCH = "metric_batch: {name}\nschedule: '@daily'\ningest_sql: SELECT 1\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "defaults.yaml").write_text("tholdalert_thresholds: {m: {upper: 3}}\n", "utf-8")
    for name in ("web", "shop"):
        (tmp_path / f"{name}.yaml").write_text(_BATCH.format(name=name), "utf-8")
    return tmp_path


def lines(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    status = main(["validate", "--metrics-dir", str(folder)])
    return status, capsys.readouterr().out.splitlines()


def test_what_the_defaults_warn_of_is_said_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, told = lines(folder, capsys)
    assert status == 0
    warning = "defaults.yaml:1: tholdalert_thresholds: no effect without disable_tholdalert: false"
    assert told == ["ok      shop (shop.yaml)", "ok      web (web.yaml)", f"warning all batches: {warning}"]


def test_whom_a_warning_concerns_is_named_where_it_is_not_all(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = _BATCH.format(name="third") + "disable_tholdalert: false\nschedule: '*/45 * * * *'\n"
    (folder / "third.yaml").write_text(own.replace("schedule: '@daily'\n", ""), "utf-8")
    _, told = lines(folder, capsys)
    assert any(line.startswith("warning third: third.yaml:4: schedule: ") for line in told)
    (shared,) = (line for line in told if "tholdalert_thresholds" in line)
    assert shared.startswith("warning shop, web: defaults.yaml:1: ")


def test_a_broken_file_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.yaml").write_text("metric_batch: bad\nshards: 0\n", "utf-8")
    status, told = lines(folder, capsys)
    assert status == 1
    assert any(line.startswith("error   ") and "bad.yaml:2" in line and "shards" in line for line in told)
