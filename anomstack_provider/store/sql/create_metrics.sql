-- The metrics table, columns in Anomstack's order. Times are UTC without a zone.
CREATE TABLE IF NOT EXISTS {table} (
    metric_timestamp TIMESTAMP NOT NULL,
    metric_batch VARCHAR NOT NULL,
    metric_name VARCHAR NOT NULL,
    metric_type VARCHAR NOT NULL,
    metric_value DOUBLE NOT NULL,
    metadata VARCHAR
    , UNIQUE (metric_batch, metric_type, metric_timestamp, metric_name) -- only with: unique
)
