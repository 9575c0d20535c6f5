SELECT
  CURRENT_TIMESTAMP() AS metric_timestamp,
  'rows of the last hour' AS metric_name,
  TRY_CAST(COUNT(*) AS DOUBLE) AS metric_value
FROM events
WHERE
  at > CURRENT_TIMESTAMP() - INTERVAL '1' HOUR
  AND CAST(at_text AS TIMESTAMP_NTZ) <= CURRENT_DATE + INTERVAL '1' DAY
