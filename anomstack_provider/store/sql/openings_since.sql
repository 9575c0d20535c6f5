-- What has no channel waits to be told.
SELECT seq, event_id, transition, channel, metric_batch, payload, status, attempts, recorded_at, tried_at, error, claims
FROM {table}
WHERE metric_batch = $metric_batch AND (transition = 'opened' OR channel = '') AND recorded_at >= $since
