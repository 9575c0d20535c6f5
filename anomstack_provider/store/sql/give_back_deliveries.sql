-- The claim that we had; one that took over after the lease is left alone.
UPDATE {table}
SET claimed_by = NULL, claimed_at = NULL
    , status = $status, error = $error -- only with: outcome
WHERE (seq, claims) IN (SELECT seq, claims FROM anomstack_staged)
    AND status IN ('pending', 'failed', 'held')
