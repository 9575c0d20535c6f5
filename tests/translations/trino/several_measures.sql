WITH days AS (
  SELECT
    CAST(sold_at AS DATE) AS day,
    SUM(price * quantity) AS revenue,
    AVG(price) AS price,
    COALESCE(SUM(CASE WHEN returned THEN 1 ELSE 0 END), 0) AS returns
  FROM sales
  WHERE
    YEAR(sold_at) = 2024
    AND (
      (
        DAY_OF_WEEK(sold_at) % 7
      ) + 1
    ) IN (1, 2, 3, 4, 5)
  GROUP BY
    CAST(sold_at AS DATE)
)
SELECT
  day AS metric_timestamp,
  'revenue' AS metric_name,
  revenue AS metric_value
FROM days
UNION ALL
SELECT
  day,
  'price',
  ROUND(price, 2)
FROM days
UNION ALL
SELECT
  day,
  'returns',
  returns
FROM days
