-- What still has to go out, or was given up and may be tried again, stays whatever its age.
DELETE FROM {table}
WHERE metric_batch = $metric_batch AND status IN ('sent', 'suppressed') AND recorded_at < $before
