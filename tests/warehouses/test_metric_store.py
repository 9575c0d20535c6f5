"""What the store promises of the metrics table, on warehouses."""

from __future__ import annotations

from tests.store.test_metric_store import (  # noqa: F401
    store,
    test_a_range_is_half_open_and_aware_times_are_taken_in_their_zone,
    test_a_table_is_looked_at_with_all_its_columns,
    test_delete_before_is_for_every_type_of_this_batch,
    test_hostile_names_are_only_names,
    test_newest_counts_per_metric_and_type_before_the_cut,
    test_no_table_yet_reads_as_empty_and_is_made_by_the_first_replace,
    test_nothing_to_write_is_fine,
    test_replace_touches_its_own_keys_only,
    test_replace_twice_leaves_one_row_and_a_clear_takes_rows_away,
    test_rows_come_sorted_by_name_type_and_time_whatever_the_collation,
    test_the_names_of_a_range_are_those_with_a_row_of_the_type_in_it,
    test_what_is_spared_stays_and_is_not_asked_for_again_and_again,
    test_what_is_written_is_read_back_to_the_bit_and_the_microsecond,
)
