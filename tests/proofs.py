"""What proofs by simulation share: a sample of draws in `make test`, all of them in `make soak`."""

import numpy as np
import pytest


def draws(sample: int, whole: int):
    return pytest.mark.parametrize("draws", [sample, pytest.param(whole, marks=pytest.mark.soak)])


def soak(*rows):
    """Return rows of parameters that only `make soak` takes."""
    return [pytest.param(*row, marks=pytest.mark.soak) for row in rows]


def hits(draws: int, one) -> float:
    """Return the share of draws, each with its own stream, in which `one` is true."""
    return float(np.mean([one(np.random.default_rng([7, k])) for k in range(draws)]))


def covered(share: float, draws: int) -> bool:
    """Whether intervals of 95 % cover 95 ± (1.5 + 2 SE) of a hundred truths."""
    return abs(share - 0.95) <= 0.015 + 2 * np.sqrt(0.95 * 0.05 / draws)


def seldom(share: float, draws: int, slack: float = 0.0) -> bool:
    """Whether a false alarm is raised in 5 % of draws at most, two standard errors aside."""
    return share <= 0.05 + slack + 2 * np.sqrt(0.05 * 0.95 / draws)
