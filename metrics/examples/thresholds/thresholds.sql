{% from "./examples/made_up.sql" import buckets, noise, something_happens with context %}
-- A cold store, measured each hour.
SELECT
    bucket AS metric_timestamp,
    'temperature' AS metric_name,
    -18 + 0.5 * {{ noise("'cold'", "bucket") }}
        -- The door stays open in the morning.
        + CASE WHEN {{ something_happens("bucket", 96) }} AND hour(bucket) BETWEEN 6 AND 9 THEN 6 ELSE 0 END AS metric_value
FROM {{ buckets("hour") }}
