"""When a run runs (its window, the ticks of its crons), a batch's own Python, what differs between Airflow versions."""
