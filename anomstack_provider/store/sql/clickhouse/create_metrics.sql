-- The metrics table, columns in Anomstack's order. Of the rows of a key the one that came last counts, see FINAL.
CREATE TABLE IF NOT EXISTS {table} (
    metric_timestamp DateTime64(6, 'UTC'),
    metric_batch String,
    metric_name String,
    metric_type LowCardinality(String),
    metric_value Float64,
    metadata Nullable(String)
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(metric_timestamp)
ORDER BY (metric_batch, metric_type, metric_name, metric_timestamp)
