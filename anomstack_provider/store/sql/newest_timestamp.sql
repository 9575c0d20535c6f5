SELECT MAX({time}) AS newest
FROM {table}
WHERE metric_batch = $metric_batch AND metric_type = $metric_type AND {time} < $before
