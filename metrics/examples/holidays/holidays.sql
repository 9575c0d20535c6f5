{% from "./examples/made_up.sql" import buckets, noise, something_happens with context %}
-- Visitors of a shop in Germany, which is closed on Sundays and holidays but for its café.
-- The holidays are made up until the end of 2027.
WITH holidays(day) AS (
    VALUES
        (DATE '2025-10-03'), (DATE '2025-12-25'), (DATE '2025-12-26'), (DATE '2026-01-01'), (DATE '2026-04-03'),
        (DATE '2026-04-06'), (DATE '2026-05-01'), (DATE '2026-05-14'), (DATE '2026-05-25'), (DATE '2026-10-03'),
        (DATE '2026-12-25'), (DATE '2026-12-26'), (DATE '2027-01-01'), (DATE '2027-03-26'), (DATE '2027-03-29'),
        (DATE '2027-05-01'), (DATE '2027-05-06'), (DATE '2027-05-17'), (DATE '2027-10-03'), (DATE '2027-12-25'),
        (DATE '2027-12-26')
)
SELECT
    bucket AS metric_timestamp,
    'visitors' AS metric_name,
    round(
        CASE
            WHEN isodow(bucket) = 7 OR CAST(bucket AS DATE) IN (SELECT day FROM holidays) THEN 90
            ELSE [620, 600, 610, 640, 700, 820][isodow(bucket)]
        END
        * (1 + 0.05 * {{ noise("'visitors'", "bucket") }})
        -- The street is dug up.
        * CASE WHEN {{ something_happens("bucket", 7) }} THEN 0.45 ELSE 1 END
    ) AS metric_value
FROM {{ buckets("day") }}
