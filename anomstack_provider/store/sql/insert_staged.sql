INSERT INTO {table} (metric_timestamp, metric_batch, metric_name, metric_type, metric_value, metadata)
SELECT
    metric_timestamp, CAST($metric_batch AS VARCHAR), metric_name, metric_type, metric_value,
    CAST(metadata AS VARCHAR)
FROM anomstack_staged
WHERE kept
