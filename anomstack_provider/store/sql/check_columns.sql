-- Gives no row: it fails where a column is missing.
SELECT metric_timestamp, metric_batch, metric_name, metric_type, metric_value, metadata FROM {table} LIMIT 0
