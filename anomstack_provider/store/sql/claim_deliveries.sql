-- Due: never claimed, given back, forsaken (claimed before $stale), or this claimant's own from an earlier try.
UPDATE {table}
SET claimed_by = $claimant, claimed_at = $now, claims = claims + 1
WHERE metric_batch = $metric_batch
    AND status IN ('pending', 'failed', 'held')
    AND (claimed_by IS NULL OR claimed_by = $claimant OR claimed_at < $stale)
