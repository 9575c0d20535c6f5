"""Coming from Anomstack: what a folder uses, what means something else here, the same in newer keys; a table's rows."""
