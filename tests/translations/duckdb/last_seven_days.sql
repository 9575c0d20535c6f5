WITH recent AS (
    SELECT user_id, min(seen_at) AS first_seen
    FROM visits
    WHERE seen_at >= TIMESTAMP '2024-03-08 00:00:00' - INTERVAL 7 DAY
    GROUP BY user_id
)
SELECT DATE '2024-03-08' AS metric_timestamp, 'new users' AS metric_name, count(DISTINCT user_id) AS metric_value
FROM recent
WHERE date_diff('day', first_seen, TIMESTAMP '2024-03-08 00:00:00') <= 7
