-- The metrics table, columns in Anomstack's order. Times are UTC. The collation is the one that compares bytes, trailing
-- spaces too: each server reads its own of the comments. The lengths are what fits into the 3072 bytes of a key.
CREATE TABLE IF NOT EXISTS {table} (
    metric_timestamp DATETIME(6) NOT NULL,
    metric_batch VARCHAR(200) NOT NULL,
    metric_name VARCHAR(500) NOT NULL,
    metric_type VARCHAR(60) NOT NULL,
    metric_value DOUBLE NOT NULL,
    metadata LONGTEXT,
    UNIQUE (metric_batch, metric_type, metric_timestamp, metric_name)
) ENGINE InnoDB CHARACTER SET utf8mb4 COLLATE /*!80017 utf8mb4_0900_bin *//*M! utf8mb4_nopad_bin */
