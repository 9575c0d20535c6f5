"""What people are told of an alert: its first line, its facts, its chart."""
