SELECT
    t.day AS metric_timestamp,
    concat('change of ', p.name) AS metric_name,
    100.0 * (t.amount - lag(t.amount) OVER (PARTITION BY t.product ORDER BY t.day))
        / nullif(lag(t.amount) OVER (PARTITION BY t.product ORDER BY t.day), 0) AS metric_value
FROM totals AS t
LEFT JOIN products AS p ON p.id = t.product
WHERE t.day BETWEEN DATE '2024-02-01' AND DATE '2024-03-01'
