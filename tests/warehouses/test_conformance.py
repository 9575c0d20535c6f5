"""
A part of the suite that holds all engines to the same promises, on ClickHouse.

Not on Snowflake and BigQuery, for time: on their emulators it takes minutes, and was never seen to end there.
"""

from __future__ import annotations

import pytest

from tests.store.test_conformance import (  # noqa: F401
    store,
    test_batches_that_only_look_alike_do_not_see_each_other,
    test_names_that_only_look_alike_are_different_metrics,
    test_the_ledger_keeps_what_it_is_given,
    test_times_are_kept_to_the_microsecond,
    test_times_of_any_frame_are_stored_in_utc,
    test_values_are_kept_to_the_bit_and_what_is_no_number_is_refused,
)

pytestmark = pytest.mark.parametrize("database", ["clickhouse"], indirect=True)
