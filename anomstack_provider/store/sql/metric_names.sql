SELECT DISTINCT metric_name
FROM {table}
WHERE metric_batch = $metric_batch
    AND metric_type = $metric_type
    AND {time} >= $since -- only with: since
    AND {time} < $until
