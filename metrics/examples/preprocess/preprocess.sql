{% from "./examples/made_up.sql" import buckets, noise, something_happens with context %}
-- What a bakery's ovens use per hour: most of it at night, each hour by chance, each day about the same.
SELECT
    bucket AS metric_timestamp,
    'energy_kwh' AS metric_name,
    greatest(0, 40 + 25 * cos((hour(bucket) - 3) * 2 * pi() / 24) + 6 * {{ noise("'energy'", "bucket") }})
        -- A door does not close: no hour is unheard of, the day is.
        * CASE WHEN {{ something_happens("bucket", 86) }} THEN 1.3 ELSE 1 END AS metric_value
FROM {{ buckets("hour") }}
