-- A try begins, and the lease anew, of what nobody else has claimed or sent since.
UPDATE {table}
SET attempts = attempts + 1, tried_at = $now, claimed_at = $now
WHERE (seq, claims) IN (SELECT seq, claims FROM anomstack_staged)
    AND status IN ('pending', 'failed', 'held')
