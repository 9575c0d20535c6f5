SELECT
    date_trunc('hour', finished_at) AS metric_timestamp,
    'p95 of ' || lower(queue) AS metric_name,
    quantile_cont(duration, 0.95) AS metric_value,
FROM jobs
WHERE queue ILIKE 'mail%' AND duration IS NOT NULL
GROUP BY 1, queue
