-- The metrics table, columns in Anomstack's order. Times are UTC without a zone.
CREATE TABLE IF NOT EXISTS {table} (
    metric_timestamp DATETIME NOT NULL,
    metric_batch STRING NOT NULL,
    metric_name STRING NOT NULL,
    metric_type STRING NOT NULL,
    metric_value FLOAT64 NOT NULL,
    metadata STRING
)
PARTITION BY DATE(metric_timestamp)
CLUSTER BY metric_batch, metric_name
