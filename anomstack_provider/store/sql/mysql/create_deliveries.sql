-- The delivery ledger, see the template of all engines; the collation and lengths are those of the metrics table.
CREATE TABLE IF NOT EXISTS {table} (
    seq BIGINT NOT NULL,
    event_id VARCHAR(200) NOT NULL,
    transition VARCHAR(60) NOT NULL,
    channel VARCHAR(500) NOT NULL,
    metric_batch VARCHAR(200) NOT NULL,
    payload LONGTEXT NOT NULL,
    status VARCHAR(64) NOT NULL,
    attempts INTEGER NOT NULL,
    recorded_at DATETIME(6) NOT NULL,
    tried_at DATETIME(6),
    sent_at DATETIME(6),
    error LONGTEXT,
    claims INTEGER NOT NULL,
    claimed_by VARCHAR(1000),
    claimed_at DATETIME(6),
    UNIQUE (event_id, transition, channel)
) ENGINE InnoDB CHARACTER SET utf8mb4 COLLATE /*!80017 utf8mb4_0900_bin *//*M! utf8mb4_nopad_bin */
