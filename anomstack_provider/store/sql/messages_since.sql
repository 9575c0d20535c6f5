-- What went out in one message was marked as sent at one moment.
SELECT channel, COUNT(DISTINCT sent_at) AS messages
FROM {table}
WHERE metric_batch = $metric_batch AND status = 'sent' AND sent_at >= $since
GROUP BY channel
