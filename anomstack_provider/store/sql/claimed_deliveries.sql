-- What the claim that was just made took: nothing else of this claimant's has this time.
SELECT seq, event_id, transition, channel, metric_batch, payload, status, attempts, recorded_at, tried_at, error, claims
FROM {table}
WHERE metric_batch = $metric_batch
    AND claimed_by = $claimant
    AND claimed_at = $now
    AND status IN ('pending', 'failed', 'held')
