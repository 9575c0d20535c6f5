SELECT seq, event_id, transition, channel, metric_batch, payload, status, attempts, recorded_at, tried_at, error, claims
FROM {table}
WHERE metric_batch = $metric_batch AND status IN ('pending', 'failed', 'held', 'abandoned')
