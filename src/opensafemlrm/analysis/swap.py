"""Whether replies come from the model that gave earlier replies to the same requests.

If nothing was changed, any of the replies to a request might as well have been the new ones. So new
and earlier replies change places at random, within each request, and what is seen is compared with
what is seen then: the p-value is exact for any number of replies and whatever is known of them.

What is seen is the greatest of several statistics: for each feature, whether it went up or down
over all requests; and how far new replies are from the others to their request, which tells a model
whose replies moved both ways. Tests against all earlier replies, week after week, are independent
of each other as long as nothing changes, since each week's rank among those before it is.

Sources: Gao, Liang & Guestrin, "Model equality testing: Which model is this API serving?",
arXiv 2410.20247 (replies to the same prompts as a two-sample problem); Westfall & Young,
"Resampling-based multiple testing" (1993), the greatest statistic; Phipson & Smyth, Statistical
Applications in Genetics and Molecular Biology 9 (2010), the p-value from random permutations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opensafemlrm.analysis.intervals import Array

DRAWS: Final = 4999
_TOGETHER: Final = 500
_TIE: Final = 1e-9
DISTANCE: Final = "distance"
"""The statistic that is of all features together."""


@dataclass(frozen=True, slots=True)
class Swap:
    """How unlike earlier replies new ones are."""

    p_value: float
    statistic: str
    """What is most unlike: the name of a feature, or :data:`DISTANCE`."""
    z: float
    """By how much, in standard deviations of what chance does; positive is more of the feature."""


def swap_test(
    features: dict[str, Array],
    request: NDArray[np.int64],
    is_new: NDArray[np.bool_],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Swap:
    """Compare new replies with earlier ones to the same requests.

    Of each reply, in any order: its ``features``, the number of its ``request``, and whether it
    ``is_new``. A request without both says nothing. ``draws`` is how often replies change places.
    """
    nothing = Swap(1.0, DISTANCE, 0.0)
    if is_new.all() or not is_new.any():
        return nothing
    order = np.argsort(request, kind="stable")
    places, request = np.unique(request[order], return_inverse=True)
    is_new = is_new[order]
    scores = _scores(np.stack([values[order] for values in features.values()], axis=1), request)
    size = np.bincount(request, minlength=len(places))
    new = np.bincount(request, is_new, minlength=len(places))
    # Of a request whose replies are all new, or all earlier, nothing can change places.
    share = new / np.maximum(size, 1)
    spread = np.zeros((len(places), scores.shape[1]))
    np.add.at(spread, request, scores**2)
    variance = (spread * (new * (1 - share) / np.maximum(size - 1, 1))[:, None]).sum(axis=0)
    names = [*features, DISTANCE]
    varies = variance > _TIE
    if not varies.any():
        return nothing
    scaled = scores[:, varies] / np.sqrt(variance[varies])
    names = [name for name, does in zip(names, varies, strict=True) if does]

    def seen(chosen: NDArray[np.bool_]) -> Array:
        """Return what each of several choices of new replies looks like, in standard errors."""
        return np.asarray(chosen.astype(np.float64) @ scaled)

    def greatest(z: Array) -> Array:
        """Return the greatest; a distance that is less than by chance says nothing."""
        away = np.abs(z)
        if names[-1] == DISTANCE:
            away[:, -1] = z[:, -1]
        return np.asarray(away.max(axis=1))

    observed = seen(is_new[None, :])
    rng, top, as_far = np.random.default_rng(seed), greatest(observed)[0], 0
    for start in range(0, draws, _TOGETHER):
        count = min(_TOGETHER, draws - start)
        # The new replies of a request are those with the lowest lots.
        lots = rng.random((count, len(request))) + request
        ranks = np.argsort(np.argsort(lots, axis=1), axis=1) - np.searchsorted(request, request)
        as_far += int((greatest(seen(ranks < new[request])) >= top - _TIE).sum())
    z = observed[0]
    which = int(np.argmax(np.where(np.arange(len(z)) < len(names) - 1, np.abs(z), z)))
    return Swap((1 + as_far) / (draws + 1), names[which], float(z[which]))


def _scores(values: Array, request: NDArray[np.int64]) -> Array:
    """Return of each reply how far its features, and all of it, are from its request's mean.

    The last column is the mean distance to the other replies, each feature by its own scale.
    """
    centred = values - _means(values, request)[request]
    scale = np.sqrt((centred**2).mean(axis=0))
    use = scale > _TIE
    distance = np.zeros(len(values))
    ends = np.flatnonzero(np.diff(request, append=-1)) + 1
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        of_one = centred[start:end, use] / scale[use]
        apart = np.abs(of_one[:, None] - of_one[None]).sum(axis=(1, 2))
        distance[start:end] = apart / max(end - start - 1, 1)
    distance -= _means(distance[:, None], request)[request, 0]
    return np.column_stack([centred, distance])


def _means(values: Array, request: NDArray[np.int64]) -> Array:
    sums = np.zeros((int(request.max(initial=-1)) + 1, values.shape[1]))
    np.add.at(sums, request, values)
    return np.asarray(sums / np.maximum(np.bincount(request, minlength=len(sums)), 1)[:, None])
