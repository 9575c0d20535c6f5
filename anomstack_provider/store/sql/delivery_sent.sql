-- Whoever holds the claim by now: the provider has acknowledged, and that is final.
UPDATE {table}
SET status = 'sent', sent_at = $now, claimed_by = NULL, claimed_at = NULL, error = NULL
WHERE event_id = $event_id AND transition = $transition AND channel = $channel AND status <> 'sent'
