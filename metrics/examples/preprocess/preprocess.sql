{% from "./examples/made_up.sql" import buckets, noise, something_happens with context %}
-- A water meter that is read each hour: it only ever counts up.
SELECT
    bucket AS metric_timestamp,
    'meter_m3' AS metric_name,
    round(
        epoch(bucket)::BIGINT / 3600 * 2.5 - 1225000
            + 20 * sin((hour(bucket) - 9) * 2 * pi() / 24)
            + 1.5 * {{ noise("'meter'", "bucket") }}
            -- A pipe bursts: 40 cubic metres an hour more until the evening, and they stay on the meter.
            + 40 * greatest(0, least(12, (epoch(bucket) - epoch(TIMESTAMP '2026-04-10 06:00:00')) / 3600)),
        1) AS metric_value
FROM {{ buckets("hour") }}
