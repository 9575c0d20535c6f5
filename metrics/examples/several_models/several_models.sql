{% from "./examples/made_up.sql" import buckets, noise, something_happens with context %}
-- How long a payment takes and how many are refused, per day.
WITH daily AS (
    SELECT bucket AS day, {{ something_happens("bucket", 1) }} AS slow
    FROM {{ buckets("day") }}
)
SELECT
    day AS metric_timestamp,
    'payment_ms' AS metric_name,
    320 + 12 * {{ noise("'payment'", "day") }} + CASE WHEN slow THEN 400 ELSE 0 END AS metric_value
FROM daily
UNION ALL
SELECT day, 'refused_pct', greatest(0, 2 + 0.3 * {{ noise("'refused'", "day") }}) FROM daily
