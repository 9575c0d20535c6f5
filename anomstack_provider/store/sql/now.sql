-- The time that the database has, in UTC as every session is.
SELECT CAST(CURRENT_TIMESTAMP AS TIMESTAMP) AS time_now
