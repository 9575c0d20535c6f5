"""When a run runs: its window, the ticks of its crons, and the differences between Airflow versions."""
