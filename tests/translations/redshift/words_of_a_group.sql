SELECT
  DATE_FROM_PARTS(2024, 3, 1) AS metric_timestamp,
  LISTAGG(DISTINCT region ORDER BY region, ', ') AS metric_name,
  ARG_MAX(total, updated_at) AS metric_value
FROM regions
WHERE
  EXTRACT(HOUR FROM updated_at) = 6 AND LENGTH(region) > 2
