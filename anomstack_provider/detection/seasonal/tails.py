"""
How seldom a value is that large: an exponential tail fitted to the larger part of a sample, and what it predicts.

The scale is the maximum likelihood estimate from the smallest of the exceedances, the largest being censored (Epstein
and Sobel 1953): anomalies within the sample change it little. What is said of a new value is the prediction that goes
with that estimate, P(X > u + x) = P(X > u) (1 + x / (k s))^-k for k exceedances: the fewer there were, the more
cautious. Logarithms are natural.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anomstack_provider.detection.seasonal.arrays import sort_last
from anomstack_provider.detection.series import Floats

# Share of the exceedances that are only known to be larger than the rest.
_CENSORED = 0.5
_LEAST = 5


@dataclass(frozen=True)
class Tails:
    """
    The fitted tails of m samples, as arrays of shape (m,).

    :param start: value ``u`` from which on the tail is described.
    :param surprise: minus log of the share of the sample beyond ``start``.
    :param scale: mean excess ``s``, in the unit of the sample.
    :param weight: number of independent exceedances ``k`` that the scale rests on.
    """

    start: Floats
    surprise: Floats
    scale: Floats
    weight: Floats

    def surprise_of(self, x: Floats) -> Floats:
        """Return minus log of the probability of a value at least as large; below ``start`` extended as a line."""
        weight = self.weight[:, None]
        excess = (x - self.start[:, None]) / self.scale[:, None]
        beyond = weight * np.log1p(np.maximum(excess, 0.0) / weight)
        return np.asarray(self.surprise[:, None] + np.where(excess > 0, beyond, excess))

    def value_at(self, wanted: Floats) -> Floats:
        """Return the values whose surprises are ``wanted``, both of shape (m,): the inverse of :meth:`surprise_of`."""
        more = wanted - self.surprise
        beyond = self.weight * self.scale * np.expm1(np.minimum(more / self.weight, 500.0))
        return np.asarray(self.start + np.where(more > 0, beyond, self.scale * more))

    def take(self, rows: NDArray[np.intp]) -> Tails:
        """Return the tails of some of the samples."""
        return Tails(self.start[rows], self.surprise[rows], self.scale[rows], self.weight[rows])


def fit(sample: Floats, share: float, least_scale: Floats | float, cluster: float = 1.0) -> Tails:
    """
    Fit the tail of each row beyond its quantile ``share``.

    :param sample: shape (m, n), NaN where there is no value; rows need five values, and give NaN tails with fewer.
    :param least_scale: the scale is not taken to be less, shape (m,) or one number.
    :param cluster: so many exceedances that follow each other tell as much as one.
    """
    return fit_sorted(*sort_last(sample), share, least_scale, cluster)


def fit_sorted(
    ordered: Floats, count: NDArray[np.intp], share: float, least_scale: Floats | float, cluster: float = 1.0
) -> Tails:
    """Fit the tails of samples that :func:`~arrays.sort_last` has sorted; see :func:`fit`."""
    first = np.clip((share * count).astype(np.intp), 0, np.maximum(count - _LEAST, 0))
    start = np.take_along_axis(ordered, first[:, None], axis=1)[:, 0]
    beyond = count - first
    kept = np.maximum(np.ceil(beyond * (1 - _CENSORED)).astype(np.intp), np.minimum(3, beyond))
    last = np.take_along_axis(ordered, np.maximum(first + kept - 1, 0)[:, None], axis=1)[:, 0] - start
    at = np.arange(ordered.shape[1])
    inside = (at >= first[:, None]) & (at < (first + kept)[:, None])
    total = np.where(inside, ordered - start[:, None], 0.0).sum(axis=1)
    scale = np.maximum((total + (beyond - kept) * last) / np.maximum(kept, 1), least_scale)
    weight = np.maximum(kept / cluster, 0.5)
    enough = count >= _LEAST
    log_share = -np.log(np.where(enough, beyond / np.maximum(count, 1), 1.0))
    return Tails(start, log_share, np.where(enough, scale, np.nan), weight)
