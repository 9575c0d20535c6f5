-- Whoever holds the claim by now: the provider has acknowledged, and that is final.
UPDATE {table}
SET status = 'sent', sent_at = $now, claimed_by = NULL, claimed_at = NULL, error = NULL
WHERE seq IN (SELECT seq FROM anomstack_staged) AND status <> 'sent'
