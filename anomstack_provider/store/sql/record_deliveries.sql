INSERT INTO {table}
    (seq, event_id, transition, channel, metric_batch, payload, status, attempts, recorded_at, claims)
SELECT
    (SELECT COALESCE(MAX(seq), 0) FROM {table}) + staged.seq,
    staged.event_id, staged.transition, staged.channel, staged.metric_batch, staged.payload, staged.status, 0, $now, 0
FROM anomstack_staged AS staged
WHERE NOT EXISTS (
    SELECT 1 FROM {table} AS known
    WHERE known.event_id = staged.event_id
        AND known.transition = staged.transition
        AND known.channel = staged.channel
)
