SELECT
    make_date(2024, 3, 1) AS metric_timestamp,
    string_agg(DISTINCT region, ', ' ORDER BY region) AS metric_name,
    arg_max(total, updated_at) AS metric_value
FROM regions
WHERE extract(hour FROM updated_at) = 6 AND len(region) > 2
