"""
The four steps as plain functions of a batch, a window, a store and models. They need no Airflow.

Everything here but the writes is a pure function of the stored series and the config, so a step may run in any order,
beside others and any number of times.
"""
