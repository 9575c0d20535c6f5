-- The ranks count distinct times, so a key that another tool wrote twice takes one place only. Of such rows
-- the reader keeps the last one, in the order the table keeps them (row_order) or, where it knows none, the one of the
-- greatest value and then metadata.
SELECT metric_name, metric_type, metric_timestamp, metric_value, metadata
FROM (
    SELECT
        metric_name,
        metric_type,
        {time} AS metric_timestamp,
        CAST(metric_value AS DOUBLE) AS metric_value,
        CAST(metadata AS VARCHAR) AS metadata
        , DENSE_RANK() OVER ( -- only with: newest
            PARTITION BY metric_name, metric_type, {time} < $cut -- only with: newest
            ORDER BY {time} DESC -- only with: newest
        ) AS age -- only with: newest
        , rowid AS row_order -- only with: rowid
    FROM {table}
    WHERE metric_batch = $metric_batch
        AND metric_type IN ({metric_types})
        AND {time} >= $since -- only with: since
        AND {time} < $until
        AND metric_name IN (SELECT metric_name FROM anomstack_wanted) -- only with: metrics
) AS found
WHERE metric_timestamp >= $cut OR age <= $newest -- only with: newest
ORDER BY metric_name, metric_type, metric_timestamp
    , row_order -- only with: rowid
    , metric_value, metadata -- only with: no_rowid
