SELECT
  DATE_FORMAT(created_at, '%Y-%m-%d') AS day,
  CONCAT(CAST('refused share ' AS VARCHAR), CAST(country AS VARCHAR)) AS metric_name,
  COUNT(*) FILTER(WHERE
    status = 'refused') / CAST(COUNT(*) AS DOUBLE) AS metric_value
FROM payments
WHERE
  CAST(created_at AS DATE) = CAST('2024-03-01' AS DATE)
GROUP BY
  1,
  2
HAVING
  COUNT(*) > 100
