"""One file an engine: how it spells what the templates say in DuckDB's dialect, how it locks and how it loads."""
