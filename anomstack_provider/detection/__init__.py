"""Pure detection: arrays in, arrays out. Nothing here knows of Airflow, a database or the wall clock."""
