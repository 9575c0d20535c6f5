-- The time that the database has, in UTC; SQLite has times as text, and CURRENT_TIMESTAMP in whole seconds alone.
SELECT STRFTIME('%Y-%m-%d %H:%M:%f', 'now') AS time_now
