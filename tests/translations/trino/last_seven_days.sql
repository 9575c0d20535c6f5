WITH recent AS (
  SELECT
    user_id,
    MIN(seen_at) AS first_seen
  FROM visits
  WHERE
    seen_at >= CAST('2024-03-08 00:00:00' AS TIMESTAMP) - INTERVAL '7' DAY
  GROUP BY
    user_id
)
SELECT
  CAST('2024-03-08' AS DATE) AS metric_timestamp,
  'new users' AS metric_name,
  COUNT(DISTINCT user_id) AS metric_value
FROM recent
WHERE
  DATE_DIFF(
    'DAY',
    DATE_TRUNC('DAY', first_seen),
    DATE_TRUNC('DAY', CAST('2024-03-08 00:00:00' AS TIMESTAMP))
  ) <= 7
