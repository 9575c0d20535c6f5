-- A join, as a subquery in a DELETE is asked once a row. The staged columns have other names, so that {time} is the
-- table's.
DELETE target
FROM {table} AS target
JOIN (
    SELECT metric_name AS staged_name, metric_type AS staged_type, metric_timestamp AS staged_time
    FROM anomstack_staged
) AS staged
    ON metric_name = staged_name AND metric_type = staged_type AND {time} = staged_time
WHERE metric_batch = $metric_batch COLLATE /*!80017 utf8mb4_0900_bin *//*M! utf8mb4_nopad_bin */
    AND {time} >= $first
    AND {time} <= $last
