"""``anomstack migrate``: the report, the folder written anew, and a table copied, as somebody would type it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from anomstack_provider.cli import main
from anomstack_provider.config.loader import load_batches

FOLDER = Path(__file__).parents[1] / "contract" / "folder"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the folder in Anomstack's form, to be broken."""
    return Path(shutil.copytree(FOLDER, tmp_path / "metrics"))


def test_the_report_says_what_each_batch_uses_and_what_means_something_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate", str(FOLDER)]) == 0
    out = capsys.readouterr().out
    assert "names (examples/names/names.yaml): recipe anomstack\n" in out
    assert "disabled (examples/disabled/disabled.yaml): recipe anomstack, disabled\n" in out
    assert "  alert_threshold: 0.8\n" in out
    assert "      better:  false_alarms_per_month\n" in out
    assert "  steps of crons (network)\n" in out
    assert "  connections (warehouse)\n" in out
    assert "  changes of level (levels)\n" in out
    assert "  ties at the top (every batch)\n" in out
    assert "unknown keys" not in out


def test_the_report_is_there_for_programs_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate", str(FOLDER), "--output", "json", "--write", str(tmp_path / "out")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["errors"] == []
    (models,) = (batch for batch in found["batches"] if batch["name"] == "models")
    assert (models["recipe"], models["disabled"]) == ("anomstack", False)
    (threshold,) = (use for use in found["defaults"] if use["key"] == "alert_threshold")
    assert (threshold["value"], threshold["instead"]) == ("0.8", "false_alarms_per_month")
    (changes,) = (one for one in found["differences"] if one["title"] == "changes of level")
    assert changes["batches"] == ["levels"]
    assert set(changes) == {"title", "anomstack", "here", "batches"}


def test_variables_are_reported_as_what_no_file_holds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANOMSTACK__LEVELS__DISABLE_BATCH", "false")
    monkeypatch.setenv("ANOMSTACK_MODEL_PATH", "s3://models")
    assert main(["migrate", str(FOLDER)]) == 0
    out = capsys.readouterr().out
    assert "  typed variables (levels)\n" in out
    assert "  variables for all batches (every batch)\n" in out
    assert "written: not in the files, change environment variable ANOMSTACK__LEVELS__DISABLE_BATCH" in out


def test_the_written_folder_loads_with_the_same_batches_and_no_new_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out"
    assert main(["migrate", str(FOLDER), "--write", str(target)]) == 0
    assert "written: 16 files of YAML" in capsys.readouterr().out
    before, after = load_batches(FOLDER, environ={}), load_batches(target, environ={})
    assert after.errors == []
    assert list(after.batches) == list(before.batches)

    def warned(loaded: object, name: str) -> set[str]:
        return {text.partition(": ")[2].partition(":")[0] for text in loaded.batches[name].warnings}  # type: ignore[attr-defined]

    for name, batch in after.batches.items():
        # Which of several idle keys is named first may change; no key is warned of that was not.
        assert len(batch.warnings) <= len(before.batches[name].warnings)
        assert warned(after, name) <= warned(before, name) | {"train_default_schedule_status"}
    recipes = {name: batch.spec.recipe for name, batch in after.batches.items()}
    assert {name for name, recipe in recipes.items() if recipe == "anomstack"} == {"models"}
    freq = after.batches["freq"].spec
    assert (freq.recipe, freq.preprocess_params.freq, freq.preprocess_params.freq_agg) == ("seasonal", "1D", "sum")
    assert after.batches["network"].spec.cron == "0 */3 * * *"
    assert after.batches["thresholds"].spec.disable_alert is True
    assert after.batches["inline_sql"].spec.cron == "0 6 * * *"
    for name in ("inline_sql", "jinja", "names", "python_inline"):
        for key in ("ingest_sql", "ingest_fn", "metric_tags", "tholdalert_thresholds"):
            assert getattr(after.batches[name].spec, key) == getattr(before.batches[name].spec, key)
    assert (target / "examples/python/ingest.py").read_text() == (FOLDER / "examples/python/ingest.py").read_text()
    assert main(["validate", "--metrics-dir", str(target)]) == 0


def test_a_folder_is_not_written_over_or_into_another(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate", str(folder), "--write", str(folder / "new")]) == 2
    assert main(["migrate", str(folder), "--write", str(folder.parent)]) == 2
    err = capsys.readouterr().err
    assert "is inside" in err
    assert "is not empty; name a new folder" in err
    assert not (folder / "new").exists()


def test_a_broken_file_is_named_and_nothing_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "twice.yaml").write_text("metric_batch: jinja\ningest_sql: select 1\n")
    (folder / "typo.yaml").write_text("metric_batch: typo\ningest_sql: select 1\nalert_treshold: 1\n")
    target = folder.parent / "out"
    assert main(["migrate", str(folder), "--write", str(target)]) == 1
    out, err = capsys.readouterr()
    assert "'jinja' is the name of the batch in twice.yaml too" in out
    assert "typo.yaml:3: alert_treshold: unknown key; did you mean 'alert_threshold'?" in out
    assert "nothing is written while a file is broken" in err
    assert not target.exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--table", "nothing"], "expected CONN_ID/TABLE"),
        (["--batch", "x"], "--batch goes with --table"),
        (["--write", "x", "--table", "c/t"], "are two things"),
        (["--metrics-dir", "x"], "name the folder once"),
    ],
)
def test_a_call_that_makes_no_sense_is_refused(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["migrate", str(FOLDER), *arguments]) == 2
    assert complaint in capsys.readouterr().err
