SELECT
  t.day AS metric_timestamp,
  CONCAT('change of ', COALESCE(p.name, '')) AS metric_name,
  100.0 * (
    t.amount - LAG(t.amount) OVER (PARTITION BY t.product ORDER BY t.day NULLS LAST)
  ) / NULLIF(LAG(t.amount) OVER (PARTITION BY t.product ORDER BY t.day NULLS LAST), 0) AS metric_value
FROM totals AS t
LEFT JOIN products AS p
  ON p.id = t.product
WHERE
  t.day BETWEEN CAST('2024-02-01' AS DATE) AND CAST('2024-03-01' AS DATE)
