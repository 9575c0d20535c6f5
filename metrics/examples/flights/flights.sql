-- One row per airport, day and measure, for the days that begin in the run's window. Days are New York's, written as UTC.
WITH days AS (
    SELECT
        CAST(flight_date AS TIMESTAMP) AS metric_timestamp,
        origin,
        COUNT(dep_time) AS departures,
        100.0 * (COUNT(*) - COUNT(dep_time)) / COUNT(*) AS cancelled_pct,
        AVG(dep_delay) AS delay_minutes
    FROM flights
    WHERE flight_date >= CAST('{{ data_interval_start }}' AS DATE)
      AND flight_date < CAST('{{ data_interval_end }}' AS DATE)
    GROUP BY flight_date, origin
)
{% for measure in ["departures", "cancelled_pct", "delay_minutes"] %}
SELECT metric_timestamp, '{{ measure }}_' || origin AS metric_name, {{ measure }} AS metric_value
FROM days
{% if not loop.last %}UNION ALL{% endif %}
{% endfor %}
