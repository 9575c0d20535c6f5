INSERT INTO {table}
    (seq, event_id, transition, channel, metric_batch, payload, status, attempts, recorded_at, claims)
SELECT
    (SELECT max(seq) FROM {table} SETTINGS aggregate_functions_null_for_empty = 0) + seq,
    event_id, transition, channel, metric_batch, payload, status, 0, $now, 0
FROM anomstack_staged
WHERE (event_id, transition, channel) NOT IN (SELECT event_id, transition, channel FROM {table})
