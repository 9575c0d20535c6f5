-- The delivery ledger: one row per transition of an event and channel. Times are UTC without a zone.
CREATE TABLE IF NOT EXISTS {table} (
    seq BIGINT NOT NULL,
    event_id VARCHAR NOT NULL,
    transition VARCHAR NOT NULL,
    channel VARCHAR NOT NULL,
    metric_batch VARCHAR NOT NULL,
    payload VARCHAR NOT NULL,
    status VARCHAR NOT NULL,
    attempts INTEGER NOT NULL,
    claimed_by VARCHAR,
    claimed_at TIMESTAMP,
    sent_at TIMESTAMP,
    error VARCHAR
    , UNIQUE (event_id, transition, channel) -- only with: unique
)
