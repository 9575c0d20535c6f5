"""The table of what is different: every key of Anomstack's is in it, and nothing that is not a key."""

from __future__ import annotations

from collections import Counter

import pytest

from anomstack_provider.config.schema import key_table
from anomstack_provider.config.spec import BatchSpec
from anomstack_provider.migrate.differences import DIFFERENCES, KEYS, NOTES, difference_rows, is_own_template, key_rows
from tests.config.test_spec import UPSTREAM_DEFAULTS


def test_every_key_of_anomstack_is_in_the_table_once() -> None:
    told = Counter(key for note in KEYS for key in note.keys)
    assert set(told.values()) == {1}
    assert set(UPSTREAM_DEFAULTS) - set(told) == set()


def test_the_table_names_only_keys_that_there_are() -> None:
    assert set(NOTES) - set(BatchSpec.model_fields) == set()
    assert all(f"`{key}`" in key_table() for key in NOTES)


def test_it_makes_rows_of_markdown() -> None:
    rows = list(key_rows())
    assert len(rows) == len(NOTES)
    assert all(row.count("|") == 4 for row in [*rows, *difference_rows()])
    assert len({one.title for one in DIFFERENCES}) == len(DIFFERENCES)


@pytest.mark.parametrize(
    ("text", "is_own"),
    [
        ('{% include "./defaults/sql/train.sql" %}\n', True),
        ("{%- include 'defaults/python/preprocess.py' -%}", True),
        ('{% include "./examples/x/train.sql" %}', False),
        ('{% include "./defaults/sql/train.sql" %} limit 10', False),
        ("select 1", False),
        (None, False),
    ],
)
def test_a_template_of_anomstacks_own_is_told_from_others(text: object, is_own: bool) -> None:
    assert is_own_template(text) is is_own
