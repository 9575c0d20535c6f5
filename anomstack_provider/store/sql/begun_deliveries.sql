-- What the try that was just begun may send, as begin_deliveries.sql picks it: nobody came between.
SELECT seq, event_id, transition, channel, metric_batch, payload, status, attempts, recorded_at, tried_at, error, claims
FROM {table}
WHERE (seq, claims) IN (SELECT seq, claims FROM anomstack_staged)
    AND status IN ('pending', 'failed', 'held')
