-- The keys are those that were staged to be cleared: a deletion cannot read a temporary table.
DELETE FROM {table}
WHERE metric_batch = $metric_batch AND (metric_name, metric_type, {time}) IN $anomstack_keys
