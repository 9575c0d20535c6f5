"""YAML text: values with their places, and every way in which a text is no configuration."""

from __future__ import annotations

import contextlib
import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from anomstack_provider.config.document import MAX_BYTES, DocumentError, decode, read_mapping, read_value


def failure(text: str) -> tuple[str, int | None, int | None, str | None]:
    with pytest.raises(DocumentError) as raised:
        read_mapping(text)
    error = raised.value
    return error.message, error.line, error.column, error.key


def test_values_have_the_types_of_yaml():
    text = "a: 1\nb: 0.5\nc: yes\nd: null\ne: text\nf: [1, x]\ng: {h: '1'}\ni: 2024-01-31\n"
    values = read_mapping(text).values
    assert values == {
        "a": 1, "b": 0.5, "c": True, "d": None, "e": "text",
        "f": [1, "x"], "g": {"h": "1"}, "i": "2024-01-31",
    }  # fmt: skip


def test_a_text_key_is_taken_as_written_at_the_top_level_only():
    text = "name: 007\nempty: null\nquoted: 'on'\ninner: {name: 007}\n"
    values = read_mapping(text, {"name", "empty", "quoted"}).values
    assert values == {"name": "007", "empty": None, "quoted": "on", "inner": {"name": 7}}


def test_keys_are_text_however_they_look():
    assert read_mapping("on: {1: a, null: b, 1.5: c}\n").values == {"on": {"1": "a", "null": "b", "1.5": "c"}}


def test_every_key_and_entry_has_its_place():
    places = read_mapping("# comment\na: 1\nb:\n  c: 2\n  d:\n  - x\n  - {e: 3}\n").places
    assert places == {
        ("a",): (2, 1),
        ("b",): (3, 1),
        ("b", "c"): (4, 3),
        ("b", "d"): (5, 3),
        ("b", "d", 0): (6, 5),
        ("b", "d", 1, "e"): (7, 6),
        ("b", "d", 1): (7, 5),
    }


def test_anchors_aliases_and_merge_keys():
    text = "base: &b {x: 1, y: 2}\nother: &o {y: 3, z: 4}\nuse: {<<: *b, y: 9}\nboth: {<<: [*b, *o]}\nlist: [*b]\n"
    values = read_mapping(text).values
    assert values["use"] == {"x": 1, "y": 9}
    assert values["both"] == {"x": 1, "y": 2, "z": 4}
    assert values["list"] == [{"x": 1, "y": 2}]


@pytest.mark.parametrize(
    ("text", "message", "line", "column", "key"),
    [
        ("", "expected keys and values, such as 'metric_batch: sales', got nothing", None, None, None),
        ("#\n", "expected keys and values, such as 'metric_batch: sales', got nothing", None, None, None),
        ("null\n", "expected keys and values, such as 'metric_batch: sales', got nothing", None, None, None),
        ("- a\n", "expected keys and values, such as 'metric_batch: sales', got a list", 1, 1, None),
        ("just text\n", "expected keys and values, such as 'metric_batch: sales', got a single "
        "value", 1, 1, None),
        ("a: 1\nb: 2\na: 3\n", "is given twice, first in line 1; keep one", 3, 1, "a"),
        ("p:\n  a: 1\n  a: 2\n", "is given twice, first in line 2; keep one", 3, 3, "p.a"),
        (
            "a: {{ x }}\n",
            "a key must be text, got a mapping; put Jinja and other text with braces in quotes",
            1, 5, "a",
        ),
        ("? [1, 2]\n: x\n", "a key must be text, got a list; put Jinja and other text with braces "
        "in quotes", 1, 3, None),
        ("a: &x b\n*x : c\n", "a key must be text, got an alias", 2, 1, None),
        ("a: &x [*x]\n", "the alias *x is inside its own anchor", 1, 8, "a"),
        (
            "a: *x\n",
            "the alias *x has no anchor &x before it; put text that starts with * in quotes",
            1, 4, "a",
        ),
        ("a: !!python/object:os.system x\n", "the tag !!python/object:os.system has no meaning "
        "here; remove it, or put the text in quotes", 1, 4, "a"),
        ("a: !mine [1]\n", "the tag !mine has no meaning here; remove it", 1, 4, "a"),
        ("a: !!int x\n", "cannot read 'x' as int", 1, 4, "a"),
        ("a: 1\n---\nb: 2\n", "a second document starts here; one file is one batch, remove the "
        "line '---'", 2, 1, None),
        ("a:\n\tb: 1\n", "a tab cannot indent YAML; use spaces", 2, 1, "a"),
        ("a: {% include 'x' %}\n", "text that starts with % must be in quotes, or below '>'", 1, 5, "a"),
        ("a: @daily\n", "text that starts with @ must be in quotes, or below '>'", 1, 4, "a"),
        ("a: */5 * * * *\n", "text that starts with * must be in quotes, such as a cron: '*/5 * * * "
        "*'", 1, 5, "a"),
        (
            "a: select 'x': 1\n",
            "a ': ' starts another value here; put the text in quotes or below '>', and check the "
            "indentation",
            1, 14, "a",
        ),
        ("a: 'x\n", "is not YAML: found unexpected end of stream while scanning a quoted scalar", 2, 1, "a"),
        ("b: 1\na: \x07\n", "has the character U+0007, which YAML does not allow; remove it", 2, 4, None),
        ("é: 1\na: é\x07\n", "has the character U+0007, which YAML does not allow; remove it", 2, 5, None),
        ("a: {<<: 1}\n", "<< takes an alias of a mapping, or a list of them", 1, 9, "a.<<"),
        ("a: " + "[" * 100 + "]" * 100, "is nested more than 30 levels deep", 1, 33, "a"),
        ("a: '\ud800'\n", "is not UTF-8 text", None, None, None),
    ],
)  # fmt: skip
def test_what_is_no_configuration_says_why_and_where(
    text: str, message: str, line: int | None, column: int | None, key: str | None
):
    assert failure(text) == (message, line, column, key)


@pytest.mark.parametrize("kind", ["int", "float", "bool"])
@pytest.mark.parametrize("value", ["", "''", "_", "'+'", "0x", "':'"])
def test_what_is_tagged_as_another_kind_is_refused_with_its_place(kind: str, value: str):
    message, line, _, key = failure(f"a: 1\nb: !!{kind} {value}\nc: 2\n")
    assert (message[:11], message[-len(kind) - 4 :], line, key) == ("cannot read", f" as {kind}", 2, "b")


@pytest.mark.parametrize("end", ["", "\n", "\nc: 3\n", "\n\n# end\n"])
def test_a_line_that_is_no_key_is_named_and_not_the_one_after_it(end: str):
    message, line, column, _ = failure(f"a: 1\nb 2{end}")
    assert (message[:43], line, column) == ("expected a key and its value, such as 'metr", 2, 1)


@pytest.mark.parametrize("text", ["a: [1", "a: {b: 1", "x: 1\na: [1,\n 2"])
def test_an_end_that_comes_too_early_is_in_the_last_line_there_is(text: str):
    assert failure(text)[1] == text.count("\n") + 1


def test_a_number_too_long_to_be_one_is_refused():
    message, line, _, key = failure("a: 1\nb: " + "9" * 5000)
    assert (message[:13], message[-6:], line, key) == ("cannot read '", "as int", 2, "b")


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(20)),
        f"a: &a '{'x' * 100_000}'\nb: [{', '.join(['*a'] * 100)}]\n",
        "a: " + "[" * 200_000,
        "a: " + "{a: " * 100_000,
        "- " * 200_000,
        "a: [" + "1, " * 100_000 + "]",
    ],
    ids=["billion laughs", "long text", "brackets", "braces", "dashes", "long list"],
)
def test_a_bomb_is_defused_at_once(text: str):
    start = time.process_time()
    message, *_ = failure(text)
    assert message in (
        "holds too much, counting what its aliases repeat; make it smaller",
        "is nested more than 30 levels deep",
    )
    assert time.process_time() - start < 2


def test_bytes_become_text():
    assert decode("\ufeffa: é".encode()) == "a: é"


def test_bytes_that_are_not_utf_8_are_refused_with_their_place():
    with pytest.raises(DocumentError, match=r"^is not UTF-8 text \(byte 0xe9\); save the file as UTF-8$") as raised:
        decode(b"a: 1\nb: caf\xe9\n")
    assert (raised.value.line, raised.value.column) == (2, 7)


def test_utf_16_is_refused():
    with pytest.raises(DocumentError, match=r"^is not UTF-8 text"):
        decode("a: 1".encode("utf-16"))


def test_a_file_beyond_all_measure_is_refused():
    with pytest.raises(DocumentError, match=r"^is 1,048,577 bytes long; a file may have 1,048,576$"):
        decode(b"x" * (MAX_BYTES + 1))


def test_a_large_query_is_read():
    text = "ingest_sql: |\n" + "  select 1 as a, 2 as b from a_table where c = 'd'\n" * 18_000
    assert len(text) < MAX_BYTES
    assert len(read_mapping(text).values["ingest_sql"]) > 800_000


def test_a_value_of_its_own_is_read():
    assert read_value("{a: [1, x]}") == {"a": [1, "x"]}
    assert read_value("") is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=1, max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(min_size=1, max_size=8), JSON, max_size=5))
def test_what_yaml_writes_is_read_back(values: dict[str, object]):
    assert read_mapping(yaml.safe_dump(values) if values else "{}").values == values


@given(st.text(alphabet=st.sampled_from("ab:- \n\t[]{},'\"&*!|>%@`#?<=~1.\\\x00\x85é"), max_size=60))
def test_no_text_raises_anything_but_its_error(text: str):
    try:
        document = read_mapping(text)
    except DocumentError as error:
        found = error
    else:
        assert set(document.places) >= {(key,) for key in document.values}
        return
    assert (found.line is None) == (found.column is None)
    assert found.line is None or 1 <= found.line <= text.count("\n") + text.count("\x85") + 2


@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_but_their_error(content: bytes):
    with contextlib.suppress(DocumentError):
        read_mapping(decode(content))
