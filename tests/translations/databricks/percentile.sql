SELECT
  DATE_TRUNC('HOUR', finished_at) AS metric_timestamp,
  'p95 of ' || LOWER(queue) AS metric_name,
  PERCENTILE_CONT(duration, 0.95) AS metric_value
FROM jobs
WHERE
  queue ILIKE 'mail%' AND NOT duration IS NULL
GROUP BY
  1,
  queue
