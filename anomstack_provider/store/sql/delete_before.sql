DELETE FROM {table} WHERE metric_batch = $metric_batch AND {time} < $before
