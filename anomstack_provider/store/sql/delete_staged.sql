-- The range of times is implied by the keys; said aloud it lets the engine skip what lies outside.
DELETE FROM {table}
WHERE metric_batch = $metric_batch
    AND {time} >= $first
    AND {time} <= $last
    AND (metric_name, metric_type, {time}) IN (
        SELECT metric_name, metric_type, metric_timestamp FROM anomstack_staged
    )
