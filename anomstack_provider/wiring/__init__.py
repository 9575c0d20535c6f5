"""What binds a batch to this Airflow: its settings, folder, connections, template names and the batch's own queries."""
