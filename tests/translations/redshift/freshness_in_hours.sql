SELECT
  CAST('2024-03-02 00:00:00' AS TIMESTAMP) AS metric_timestamp,
  'hours since the last order' AS metric_name,
  CAST((
    EXTRACT(EPOCH FROM CAST('2024-03-02 00:00:00' AS TIMESTAMP)) - EXTRACT(EPOCH FROM MAX(created_at))
  ) AS DOUBLE PRECISION) / 3600 AS metric_value
FROM orders
WHERE
  created_at < CAST('2024-03-02 00:00:00' AS TIMESTAMP)
