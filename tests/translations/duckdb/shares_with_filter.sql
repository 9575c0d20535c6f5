SELECT
    strftime(created_at, '%Y-%m-%d') AS day,
    'refused share ' || country AS metric_name,
    count(*) FILTER (WHERE status = 'refused') / count(*)::DOUBLE AS metric_value
FROM payments
WHERE created_at::DATE = DATE '2024-03-01'
GROUP BY 1, 2
HAVING count(*) > 100
