SELECT
    get_current_timestamp() AS metric_timestamp,
    'rows of the last hour' AS metric_name,
    try_cast(count(*) AS DOUBLE) AS metric_value
FROM events
WHERE at > now() - INTERVAL '1 hour' AND at_text::TIMESTAMP <= current_date + INTERVAL 1 DAY
