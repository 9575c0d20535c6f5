"""The score of the seasonal recipe: another name for how often a usual month brings a bucket that odd."""

from __future__ import annotations

import numpy as np

from anomstack_provider.detection.series import Floats


def score_of(rate: Floats) -> Floats:
    """
    Return the score, in [0, 1], of a natural log of false alarms a month; strictly falling, never tied at the top.

    Once a month is 0.5, once in ten months 0.75, once in a hundred 0.833, ten times a month 0.25.
    """
    decades = -np.asarray(rate, np.float64) / np.log(10)
    return np.asarray(0.5 + 0.5 * decades / (1 + np.abs(decades)))


def threshold_of(false_alarms_per_month: float) -> float:
    """Return the score at which a bucket alerts so as to keep a budget of false alarms a month."""
    return float(score_of(np.log(np.float64(false_alarms_per_month))))
