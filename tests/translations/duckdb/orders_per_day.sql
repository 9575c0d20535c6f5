SELECT
    date_trunc('day', created_at) AS metric_timestamp,
    'orders' AS metric_name,
    count(*) AS metric_value
FROM shop.orders
WHERE created_at >= TIMESTAMP '2024-03-01 00:00:00' AND created_at < TIMESTAMP '2024-03-02 00:00:00'
GROUP BY ALL
