-- Due: never claimed, given back, abandoned (claimed before $stale), or this claimant's own from an earlier try.
UPDATE {table}
SET claimed_by = $claimant, claimed_at = $now, attempts = attempts + 1
WHERE metric_batch = $metric_batch
    AND status IN ('pending', 'failed')
    AND (claimed_by IS NULL OR claimed_by = $claimant OR claimed_at < $stale)
RETURNING seq, event_id, transition, channel, metric_batch, payload, status, attempts
