{% from "./examples/made_up.sql" import noise, something_happens with context %}
-- A row per load of a table, as a loader's log has it; in yours, read such a log, or count and take max(loaded_at).
WITH load_log AS (
    SELECT
        name AS table_name,
        day + INTERVAL 2 HOUR + to_minutes(CAST(10 + 5 * {{ noise("name || 'time'", "day") }} AS BIGINT)) AS loaded_at,
        round(size * (1 + 0.05 * {{ noise("name", "day") }})) AS rows_loaded
    FROM generate_series(
            CAST(CAST('{{ data_interval_start }}' AS TIMESTAMP) AS DATE) - INTERVAL 14 DAY,
            CAST('{{ data_interval_end }}' AS TIMESTAMP),
            INTERVAL 1 DAY
        ) AS days(day),
        (VALUES ('orders', 52000), ('customers', 1800), ('events', 940000)) AS tables(name, size)
    -- Nothing is loaded into orders for two days.
    WHERE NOT (name = 'orders' AND ({{ something_happens("day", 84) }} OR {{ something_happens("day", 85) }}))
),
days AS (
    SELECT day, day + INTERVAL 1 DAY AS ends, name AS table_name
    FROM generate_series(
            CAST('{{ data_interval_start }}' AS DATE), CAST('{{ data_interval_end }}' AS DATE), INTERVAL 1 DAY
        ) AS series(day),
        (SELECT DISTINCT table_name AS name FROM load_log) AS tables
    WHERE day >= CAST('{{ data_interval_start }}' AS TIMESTAMP) AND day < CAST('{{ data_interval_end }}' AS TIMESTAMP)
),
-- The state at the end of each day, not that of now: so a backfill of March measures March.
state AS (
    SELECT
        day,
        table_name,
        COALESCE(SUM(rows_loaded) FILTER (WHERE loaded_at >= day), 0) AS rows_loaded,
        date_diff('minute', MAX(loaded_at), ANY_VALUE(ends)) / 60 AS hours_since_load
    FROM days JOIN load_log USING (table_name)
    WHERE loaded_at < ends
    GROUP BY day, table_name
)
SELECT day AS metric_timestamp, 'rows_loaded_' || table_name AS metric_name, rows_loaded AS metric_value FROM state
UNION ALL
SELECT day, 'hours_since_load_' || table_name, hours_since_load FROM state
