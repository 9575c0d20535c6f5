"""What the detector sees of a day: how it differs from the days just before it, and from its weekday a week ago."""

import pandas as pd


def preprocess(df, diff_n=1, lags_n=3):
    """Return a row per day: the day's difference to the day before, those of the days before that, and the week's."""
    used = df.set_index("metric_timestamp")["metric_value"]
    step = used.diff(diff_n)
    features = {f"step_{lag}": step.shift(lag) for lag in range(lags_n + 1)}
    return pd.DataFrame({**features, "since_last_week": used.diff(7)}).dropna()
