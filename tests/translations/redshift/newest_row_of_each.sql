SELECT
  metric_timestamp,
  metric_name,
  metric_value
FROM (
  SELECT
    measured_at AS metric_timestamp,
    sensor AS metric_name,
    value AS metric_value,
    ROW_NUMBER() OVER (PARTITION BY sensor ORDER BY measured_at DESC NULLS LAST) AS place
  FROM readings
)
WHERE
  place = 1
