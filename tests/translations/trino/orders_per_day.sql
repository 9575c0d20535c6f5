SELECT
  DATE_TRUNC('DAY', created_at) AS metric_timestamp,
  'orders' AS metric_name,
  COUNT(*) AS metric_value
FROM shop.orders
WHERE
  created_at >= CAST('2024-03-01 00:00:00' AS TIMESTAMP)
  AND created_at < CAST('2024-03-02 00:00:00' AS TIMESTAMP)
GROUP BY ALL
