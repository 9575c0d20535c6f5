SELECT
  DATE_TRUNC('HOUR', finished_at) AS metric_timestamp,
  'p95 of ' || LOWER(queue) AS metric_name,
  PERCENTILE_CONT(0.95) WITHIN GROUP (ORDER BY
    duration) AS metric_value
FROM jobs
WHERE
  queue ILIKE 'mail%' AND NOT duration IS NULL
GROUP BY
  1,
  queue
