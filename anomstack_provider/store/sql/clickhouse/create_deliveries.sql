-- The delivery ledger: one row per transition of an event and channel; of the rows of a key the one that came last counts.
CREATE TABLE IF NOT EXISTS {table} (
    seq Int64,
    event_id String,
    transition String,
    channel String,
    metric_batch String,
    payload String,
    status String,
    attempts Int32,
    recorded_at DateTime64(6, 'UTC'),
    tried_at Nullable(DateTime64(6, 'UTC')),
    sent_at Nullable(DateTime64(6, 'UTC')),
    error Nullable(String),
    claims Int32,
    claimed_by Nullable(String),
    claimed_at Nullable(DateTime64(6, 'UTC'))
)
ENGINE = ReplacingMergeTree
ORDER BY (event_id, transition, channel)
