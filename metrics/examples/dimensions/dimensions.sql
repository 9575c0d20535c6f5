{% from "./examples/made_up.sql" import buckets, noise, something_happens with context %}
-- One metric per country and device: the dimensions are part of metric_name, and GROUP BY makes as many as there are.
WITH orders AS (
    SELECT
        bucket AS day,
        country,
        device,
        round(share * [900, 880, 890, 930, 1060, 1300, 1200][isodow(bucket)]
            * (1 + 0.04 * {{ noise("country || device", "bucket") }})
            -- The app of one country has a broken release.
            * CASE WHEN {{ something_happens("bucket", 94) }} AND country = 'FR' AND device = 'app' THEN 0.4 ELSE 1 END) AS number
    FROM {{ buckets("day") }},
        (VALUES ('DE', 0.5), ('FR', 0.3), ('IT', 0.2)) AS countries(country, share),
        (VALUES ('app'), ('web')) AS devices(device)
)
SELECT day AS metric_timestamp, 'orders.' || country || '.' || device AS metric_name, SUM(number) AS metric_value
FROM orders
GROUP BY day, country, device
UNION ALL
SELECT day, 'orders', SUM(number) FROM orders GROUP BY day
