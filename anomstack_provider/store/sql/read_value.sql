SELECT CAST(metric_value AS DOUBLE) AS metric_value
FROM {table}
WHERE metric_batch = $metric_batch
    AND metric_name = $metric_name
    AND metric_type = $metric_type
    AND {time} = $metric_timestamp
