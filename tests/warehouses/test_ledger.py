"""What the ledger promises, on warehouses."""

from __future__ import annotations

from tests.store.test_ledger import (  # noqa: F401
    ledger,
    test_a_claim_lasts_for_its_lease_and_then_is_taken_over,
    test_a_claimant_gets_its_own_again_at_once,
    test_a_delivery_is_recorded_once_and_never_changed,
    test_a_delivery_recorded_after_the_newest_was_deleted_has_a_place_of_its_own,
    test_a_failed_delivery_is_free_for_anyone_with_its_error_kept,
    test_a_try_is_counted_when_it_begins_and_only_of_what_is_still_ours,
    test_claims_come_in_the_order_of_recording_and_only_of_the_own_batch,
    test_hostile_names_and_times_without_a_zone,
    test_its_clock_is_the_database_s_in_utc_and_goes_on,
    test_messages_are_counted_per_channel_and_not_deliveries,
    test_the_history_of_events,
    test_what_is_finished_and_old_is_deleted,
    test_what_is_given_back_as_it_was_keeps_its_state,
    test_what_was_given_up_is_never_claimed_until_it_is_put_back,
    test_what_was_suppressed_or_sent_is_never_claimed,
    test_whoever_asks_what_is_owed_makes_no_table,
    test_whoever_lost_its_claim_cannot_free_the_one_that_took_over,
)
