SELECT metric_batch, COUNT(*) AS row_count FROM {table} GROUP BY metric_batch
