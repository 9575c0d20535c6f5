SELECT
  CAST('2024-03-02 00:00:00' AS TIMESTAMP) AS metric_timestamp,
  'hours since the last order' AS metric_name,
  CAST((
    TO_UNIXTIME(CAST('2024-03-02 00:00:00' AS TIMESTAMP)) - TO_UNIXTIME(MAX(created_at))
  ) AS DOUBLE) / 3600 AS metric_value
FROM orders
WHERE
  created_at < CAST('2024-03-02 00:00:00' AS TIMESTAMP)
