"""Real batch files with anything changed in them: a batch, or errors that name file, line and key; and always DAGs."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anomstack_provider.config.loader import load_batches
from anomstack_provider.config.spec import BatchSpec

REPOSITORY = Path(__file__).resolve().parents[2]
REAL = [path.read_text("utf-8") for path in sorted((REPOSITORY / "metrics").rglob("*.yaml")) if path.stem != "defaults"]
KEYS = sorted(BatchSpec.model_fields)
ODD = [
    "!!int", "!!float ''", "!!binary x", "&a [*a]", "*nobody", "{", "[", "'", '"', "|", ">-", "~", "- 1", "? x",
    "<<: 1", "0o9", "1_0", ".inf", ".nan", "1e999", "-0", "0x", "12:30:45", "2024-02-30", "=", "no", "\t",
    "\x85", "\u2028", "🙂", "9" * 400, "a" * 3000, "{% include %}", "{{ 1/0 }}", "'; DROP TABLE metrics; --",
    "../../etc/passwd", "%s", "${HOME}", "{a: {b: {c: [1, {d: }]}}}", "[[[[[[]]]]]]", "null", "true", "''",
    "P1Y", "-5m", "@reboot", "* * * * * * *", "Mars/Base",
]  # fmt: skip
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """A real file after up to four changes of lines, keys, values and characters."""
    lines = draw(st.sampled_from(REAL)).splitlines()
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(lines) - 1, 0)))
        odd = draw(st.sampled_from(ODD) | TEXT)
        match draw(st.integers(0, 6)):
            case 0 if lines:
                del lines[at]
            case 1 if lines:
                lines.insert(at, lines[draw(st.integers(0, len(lines) - 1))])
            case 2 if lines:
                lines[at] = f"{lines[at].partition(':')[0]}: {odd}"
            case 3 if lines:
                cut = draw(st.integers(0, len(lines[at])))
                lines[at] = lines[at][:cut] + odd + lines[at][cut:]
            case 4 if lines:
                lines[at] = " " * draw(st.integers(0, 5)) + lines[at]
            case 5:
                lines = lines[:at]
            case _:
                lines.insert(at, f"{draw(st.sampled_from(KEYS))}: {odd}")
    return "\n".join(lines) + draw(st.sampled_from(["", "\n"]))


def breaks(text: str) -> int:
    return sum(text.count(mark) for mark in "\n\r\x85\u2028\u2029")


@settings(max_examples=300)
@given(documents(), documents() | st.none())
def test_a_real_file_with_anything_changed_is_a_batch_or_errors_with_their_place(
    batch: str, defaults: str | None
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "a.yaml").write_text(batch, "utf-8")
        if defaults is not None:
            Path(directory, "defaults.yaml").write_text(defaults, "utf-8")
        loaded = load_batches(directory, environ={})
    assert len(loaded.batches) + bool(loaded.errors) == 1
    texts = {"a.yaml": batch, "defaults.yaml": defaults or ""}
    for error in loaded.errors:
        assert error.path in texts
        assert error.line is None or 1 <= error.line <= breaks(texts[error.path]) + 1
        assert error.key is None or error.line is not None, str(error)
        assert error.message
        assert "Input should" not in error.message
        assert "Traceback" not in error.message


OF_FOLDER = {"anomstack_health_of_config", *(f"anomstack_{job}_of_batches" for job in ("summary", "delete", "check"))}


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(documents(), min_size=1, max_size=3))
def test_dags_are_made_of_whatever_can_be_read_and_stubs_of_the_rest(contents: list[str]) -> None:
    from anomstack_provider import generate_dags

    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "fine.yaml").write_text("metric_batch: fine_1\ningest_sql: SELECT 1\nschedule: '@daily'\n")
        for number, content in enumerate(contents):
            Path(directory, f"odd{number}.yaml").write_text(content, "utf-8")
        loaded = load_batches(directory)
        dags = generate_dags(directory)
    assert "ingest" in dags["anomstack_fine_1"].task_ids
    # One for each batch, whether it can run or not; what the name is, is in the DAG.
    made = [dag for dag in dags.values() if dag.dag_id not in OF_FOLDER]
    switched_off = {name for name, batch in loaded.batches.items() if batch.spec.disable_batch}
    assert len(made) == len(set(loaded.batches) | set(loaded.broken)) - len(switched_off)
