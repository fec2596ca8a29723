"""The image score of PatchCore (Roth et al., 2022, section 3.3)."""

import math

import numpy as np
from scipy.special import logsumexp

from methods.shared.nearest import MemoryBank, Vectors


def reweighted(bank: MemoryBank, m_test: Vectors, s_star: float, nearest: int, b: int) -> float:
    """The image score (1 - exp‖m_test - m*‖ / Σ exp‖m_test - m‖) s*, the sum over N_b(m*) (Eq. 7).

    A rare normal patch m*, whose own neighbours are far from the tested one, raises the score. m*
    counts among its b nearest neighbours, so that the factor lies in [0, 1).

    Args:
        bank: M.
        m_test: the patch with the largest distance to the bank, float32 (dimension,).
        s_star: that distance.
        nearest: index of m* in the bank.
        b: number of neighbours; 1 leaves s* as it is.
    """
    if b == 1 or len(bank) == 1:
        return s_star
    _, neighbours = bank.search(bank.rows[nearest : nearest + 1], b)
    others = bank.rows[neighbours[0]].astype(np.float64) - m_test
    distances = np.sqrt(np.einsum("ij,ij->i", others, others))
    total = float(np.asarray(logsumexp(distances)))
    return (1 - math.exp(s_star - total)) * s_star
