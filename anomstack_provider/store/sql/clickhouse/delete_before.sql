DELETE FROM {table}
WHERE metric_batch = $metric_batch
    AND {time} < $before
    AND (metric_name, metric_type, {time}) NOT IN $anomstack_keys -- only with: spare
