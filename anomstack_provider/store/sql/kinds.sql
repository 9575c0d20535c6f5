-- The kinds of rows of a batch: how many there are, how many of them have a time, and the oldest and newest time.
SELECT
    metric_type, COUNT(*) AS row_count, COUNT(metric_timestamp) AS timed_count,
    MIN({time}) AS oldest, MAX({time}) AS newest
FROM {table}
WHERE metric_batch = $metric_batch
GROUP BY metric_type
