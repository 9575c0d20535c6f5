-- At most $most rows of the batch, so that no transaction is long; the keys of anomstack_staged stay.
DELETE FROM {table}
WHERE rowid IN (
    SELECT rowid
    FROM {table}
    WHERE metric_batch = $metric_batch
        AND {time} < $before
        AND (metric_name, metric_type, {time}) NOT IN ( -- only with: spare
            SELECT metric_name, metric_type, metric_timestamp FROM anomstack_staged -- only with: spare
        ) -- only with: spare
    LIMIT $most
)
