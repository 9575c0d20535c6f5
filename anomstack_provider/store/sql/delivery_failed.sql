-- The number of attempts tells our claim from one that took over after the lease: theirs is left alone.
UPDATE {table}
SET status = 'failed', claimed_by = NULL, claimed_at = NULL, error = $error
WHERE event_id = $event_id AND transition = $transition AND channel = $channel
    AND status IN ('pending', 'failed') AND attempts = $attempts
