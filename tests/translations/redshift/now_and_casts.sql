SELECT
  GETDATE() AS metric_timestamp,
  'rows of the last hour' AS metric_name,
  TRY_CAST(COUNT(*) AS DOUBLE PRECISION) AS metric_value
FROM events
WHERE
  at > GETDATE() - INTERVAL '1 HOUR'
  AND CAST(at_text AS TIMESTAMP) <= CURRENT_DATE + INTERVAL '1 DAY'
