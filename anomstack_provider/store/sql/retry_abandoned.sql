UPDATE {table}
SET status = 'pending', attempts = 0, claimed_by = NULL, claimed_at = NULL
WHERE metric_batch = $metric_batch AND status = 'abandoned'
