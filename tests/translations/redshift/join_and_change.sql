SELECT
  t.day AS metric_timestamp,
  'change of ' || p.name AS metric_name,
  CAST(100.0 * (
    t.amount - LAG(t.amount) OVER (PARTITION BY t.product ORDER BY t.day)
  ) AS DOUBLE PRECISION) / NULLIF(LAG(t.amount) OVER (PARTITION BY t.product ORDER BY t.day), 0) AS metric_value
FROM totals AS t
LEFT JOIN products AS p
  ON p.id = t.product
WHERE
  t.day BETWEEN CAST('2024-02-01' AS DATE) AND CAST('2024-03-01' AS DATE)
