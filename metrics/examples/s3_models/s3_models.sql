{% from "./examples/made_up.sql" import buckets, noise, something_happens with context %}
-- Parcels that a depot sends per day.
SELECT
    bucket AS metric_timestamp,
    'parcels' AS metric_name,
    round([2100, 2300, 2250, 2200, 2400, 2000, 1900][isodow(bucket)] * (1 + 0.03 * {{ noise("'parcels'", "bucket") }})
        -- A belt stands still.
        * CASE WHEN {{ something_happens("bucket", 9) }} THEN 0.55 ELSE 1 END) AS metric_value
FROM {{ buckets("day") }}
