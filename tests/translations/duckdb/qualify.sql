SELECT measured_at AS metric_timestamp, sensor AS metric_name, value AS metric_value
FROM readings
QUALIFY row_number() OVER (PARTITION BY sensor ORDER BY measured_at DESC) = 1
