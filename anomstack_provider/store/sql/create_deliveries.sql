-- The delivery ledger: one row per transition of an event and channel. Times are UTC without a zone.
-- claims tells one claim of a row from the next; attempts counts the tries to send it.
CREATE TABLE IF NOT EXISTS {table} (
    seq BIGINT NOT NULL,
    event_id VARCHAR NOT NULL,
    transition VARCHAR NOT NULL,
    channel VARCHAR NOT NULL,
    metric_batch VARCHAR NOT NULL,
    payload VARCHAR NOT NULL,
    status VARCHAR NOT NULL,
    attempts INTEGER NOT NULL,
    recorded_at TIMESTAMP NOT NULL,
    tried_at TIMESTAMP,
    sent_at TIMESTAMP,
    error VARCHAR,
    claims INTEGER NOT NULL,
    claimed_by VARCHAR,
    claimed_at TIMESTAMP
    , UNIQUE (event_id, transition, channel) -- only with: unique
)
