"""Nearest neighbours: faiss on a CPU, products of matrices on a card; each against distances in float64."""

import numpy as np
import pytest
import torch

from methods.shared.nearest import MemoryBank, nearest


def drawn(rows: int, queries: int, dimension: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(rows)
    return rng.standard_normal((rows, dimension), np.float32), rng.standard_normal(
        (queries, dimension), np.float32
    )


def exact(rows: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    far = ((queries[:, None].astype(np.float64) - rows[None]) ** 2).sum(axis=2)
    where = np.argsort(far, axis=1)[:, :k]
    return np.sqrt(np.take_along_axis(far, where, 1)), where


@pytest.mark.parametrize(("rows", "k"), [(1, 1), (7, 3), (100, 1), (101, 5), (64, 64)])
@pytest.mark.parametrize("at_a_time", [1, 7, 1000])
def test_rows_in_blocks_have_the_neighbours_of_all_at_once(rows: int, k: int, at_a_time: int):
    bank, asked = drawn(rows, 9)
    found = nearest(torch.from_numpy(bank), torch.from_numpy(asked), k, product_bytes=4 * 9 * at_a_time)
    assert np.array_equal(np.sort(found.numpy(), axis=1), np.sort(exact(bank, asked, k)[1], axis=1))


@pytest.mark.parametrize("k", [1, 4])
def test_a_bank_gives_distances_nearest_first(k: int):
    bank, asked = drawn(50, 11)
    distances, where = MemoryBank(bank).search(asked, k)
    expected, places = exact(bank, asked, k)
    assert np.array_equal(where, places) and np.allclose(distances, expected, rtol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no card")
def test_a_card_finds_the_same():
    bank, asked = drawn(3000, 200, 64)
    for k in (1, 5):
        here, there = MemoryBank(bank).search(asked, k), MemoryBank(bank, "cuda:0").search(asked, k)
        assert np.array_equal(here[1], there[1]) and np.array_equal(here[0], there[0])
