{% from "./examples/made_up.sql" import buckets, noise, something_happens with context %}
-- A shop's days. With a table of yours: SELECT CAST(ordered_at AS DATE) AS day, COUNT(*), SUM(amount) ... GROUP BY 1.
WITH daily AS (
    SELECT
        bucket AS day,
        [410, 400, 405, 425, 500, 640, 560][isodow(bucket)] * (1 + 0.04 * {{ noise("'orders'", "bucket") }})
            -- The payment page is broken: four of ten orders are lost.
            * CASE WHEN {{ something_happens("bucket", 90) }} THEN 0.6 ELSE 1 END AS orders,
        48 + 1.2 * {{ noise("'basket'", "bucket") }} AS basket
    FROM {{ buckets("day") }}
)
SELECT day AS metric_timestamp, 'orders' AS metric_name, round(orders) AS metric_value FROM daily
UNION ALL
SELECT day, 'revenue', round(orders) * basket FROM daily
UNION ALL
SELECT day, 'basket', basket FROM daily
