-- The time of the row so many rows later, to end a page at; or the first time after, to end a page of one time.
SELECT {time} AS metric_timestamp
FROM {table}
WHERE metric_batch = $metric_batch
    AND {time} >= $since -- only with: later
    AND {time} > $since -- only with: next
ORDER BY {time}
LIMIT 1
OFFSET $later -- only with: later
