{% from "./examples/made_up.sql" import buckets, noise, something_happens with context %}
-- An app's hours, busy in the evening and at weekends.
WITH hourly AS (
    SELECT
        bucket AS hour,
        1000 + 800 * sin((hour(bucket) - 14) * 2 * pi() / 24) + CASE WHEN isodow(bucket) >= 6 THEN 250 ELSE 0 END AS usual
    FROM {{ buckets("hour") }}
)
SELECT
    hour AS metric_timestamp,
    'active_users' AS metric_name,
    -- Nobody can log in from noon to five.
    round(usual * (1 + 0.03 * {{ noise("'users'", "hour") }})
        * CASE WHEN {{ something_happens("hour", 0) }} AND hour(hour) BETWEEN 12 AND 16 THEN 0.3 ELSE 1 END) AS metric_value
FROM hourly
UNION ALL
SELECT hour, 'signups', greatest(0, round(usual / 40 + 3 * {{ noise("'signups'", "hour") }})) FROM hourly
