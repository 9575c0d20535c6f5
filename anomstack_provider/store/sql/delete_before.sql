-- At most $most rows of the batch, where the engine can count them, so that no transaction is long; the keys of
-- anomstack_staged stay.
DELETE FROM {table}
WHERE rowid IN ( -- only with: rowid
    SELECT rowid -- only with: rowid
    FROM {table} -- only with: rowid
    WHERE -- only with: rowid
WHERE -- only with: no_rowid
        metric_batch = $metric_batch
        AND {time} < $before
        AND (metric_name, metric_type, {time}) NOT IN ( -- only with: spare
            SELECT metric_name, metric_type, metric_timestamp FROM anomstack_staged -- only with: spare
        ) -- only with: spare
    LIMIT $most -- only with: rowid
LIMIT $most -- only with: delete_limit
) -- only with: rowid
