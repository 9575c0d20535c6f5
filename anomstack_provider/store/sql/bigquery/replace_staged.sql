-- Two statements of one script. The range of times is implied by the keys; said aloud it lets BigQuery skip partitions.
DELETE FROM {table}
WHERE metric_batch = $metric_batch
    AND {time} >= $first
    AND {time} <= $last
    AND (metric_name, metric_type, {time}) IN (
        SELECT (metric_name, metric_type, metric_timestamp) FROM anomstack_staged
    );
INSERT INTO {table} (metric_timestamp, metric_batch, metric_name, metric_type, metric_value, metadata)
SELECT metric_timestamp, $metric_batch, metric_name, metric_type, metric_value, metadata
FROM anomstack_staged
WHERE kept
