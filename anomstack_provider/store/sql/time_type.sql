-- Gives no row: its description tells the type of the time column, or its failure that there is no table.
SELECT metric_timestamp FROM {table} LIMIT 0
