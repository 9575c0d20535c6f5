"""Whatever a folder holds, loading it never raises."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from anomstack_provider.config.loader import load_batches

GOOD = "metric_batch: good\ningest_sql: select 1\n"


@given(
    st.lists(
        st.binary(max_size=40)
        | st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace"))
        | st.text(alphabet="abmetric_batch: \n-[]{}'\"&*!|>#1", max_size=60).map(str.encode)
        | st.just(GOOD.encode()),
        max_size=4,
    ),
    st.binary(max_size=30) | st.none(),
)
def test_no_content_of_a_folder_raises(contents: list[bytes], defaults: bytes | None):
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for number, content in enumerate(contents):
            (root / f"{number}.yaml").write_bytes(content)
        if defaults is not None:
            (root / "defaults.yaml").write_bytes(defaults)
        loaded = load_batches(root, environ={})
    assert not set(loaded.batches) & set(loaded.broken)
    paths = {batch.path for batch in loaded.batches.values()} | {error.path for error in loaded.errors}
    if defaults is None:
        assert paths == {f"{number}.yaml" for number in range(len(contents))}
    assert all(str(error) for error in loaded.errors)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
def test_no_value_of_a_key_raises(data: st.DataObject):
    import yaml

    from anomstack_provider.config.spec import BatchSpec

    keys = data.draw(
        st.dictionaries(st.sampled_from(sorted(BatchSpec.model_fields)) | st.text(max_size=5), VALUES, max_size=4)
    )
    with tempfile.TemporaryDirectory() as directory:
        content = {"metric_batch": "a", "ingest_sql": "select 1", **keys}
        Path(directory, "a.yaml").write_text(yaml.safe_dump(content))
        loaded = load_batches(directory, environ={})
    assert len(loaded.batches) + bool(loaded.errors) == 1
    for error in loaded.errors:
        assert error.path == "a.yaml"
        assert "Input should" not in error.message, "pydantic's own words"
        assert "validation" not in error.message
