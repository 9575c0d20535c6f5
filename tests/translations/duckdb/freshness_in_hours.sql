SELECT
    TIMESTAMP '2024-03-02 00:00:00' AS metric_timestamp,
    'hours since the last order' AS metric_name,
    (epoch(TIMESTAMP '2024-03-02 00:00:00') - epoch(max(created_at))) / 3600 AS metric_value
FROM orders
WHERE created_at < TIMESTAMP '2024-03-02 00:00:00'
