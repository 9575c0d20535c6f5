SELECT
  DATE_TRUNC('HOUR', finished_at) AS metric_timestamp,
  CONCAT(CAST('p95 of ' AS VARCHAR), CAST(LOWER(queue) AS VARCHAR)) AS metric_name,
  PERCENTILE_CONT(duration, 0.95) AS metric_value
FROM jobs
WHERE
  LOWER(queue) LIKE LOWER('mail%') AND NOT duration IS NULL
GROUP BY
  1,
  queue
