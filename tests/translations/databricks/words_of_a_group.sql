SELECT
  MAKE_DATE(2024, 3, 1) AS metric_timestamp,
  LISTAGG(DISTINCT region, ', ') WITHIN GROUP (ORDER BY
    region NULLS LAST) AS metric_name,
  MAX_BY(total, updated_at) AS metric_value
FROM regions
WHERE
  EXTRACT(HOUR FROM updated_at) = 6 AND LENGTH(region) > 2
