SELECT
  CAST('2024-03-02 00:00:00' AS TIMESTAMP_NTZ) AS metric_timestamp,
  'hours since the last order' AS metric_name,
  (
    UNIX_TIMESTAMP(CAST('2024-03-02 00:00:00' AS TIMESTAMP_NTZ)) - UNIX_TIMESTAMP(MAX(created_at))
  ) / 3600 AS metric_value
FROM orders
WHERE
  created_at < CAST('2024-03-02 00:00:00' AS TIMESTAMP_NTZ)
