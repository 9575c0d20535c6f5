{% from "./examples/made_up.sql" import buckets, noise, something_happens with context %}
-- A site's days: visits, the share of them that ends on the first page, errors of the server.
WITH daily AS (
    SELECT
        bucket AS day,
        round([9200, 9400, 9300, 9100, 8600, 5200, 5600][isodow(bucket)] * (1 + 0.03 * {{ noise("'visits'", "bucket") }})) AS visits,
        41 + 0.8 * {{ noise("'bounce'", "bucket") }}
            -- A script breaks the pages behind the first one.
            + CASE WHEN {{ something_happens("bucket", 92) }} THEN 14 ELSE 0 END AS bounce_rate,
        greatest(0, round(25 + 4 * {{ noise("'errors'", "bucket") }}
            + CASE WHEN {{ something_happens("bucket", 92) }} THEN 160 ELSE 0 END)) AS server_errors
    FROM {{ buckets("day") }}
)
{% for measure in ["visits", "bounce_rate", "server_errors"] %}
SELECT day AS metric_timestamp, '{{ measure }}' AS metric_name, {{ measure }} AS metric_value FROM daily
{% if not loop.last %}UNION ALL{% endif %}
{% endfor %}
