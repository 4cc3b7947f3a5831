"""Orthogonal matching pursuit against the textbook loop."""

from __future__ import annotations

import numpy as np
import pytest
from places import PLACES

from seatools.embed_init import matching_pursuit as module
from seatools.embed_init.array_place import Place
from seatools.embed_init.matching_pursuit import matching_pursuit


def _textbook(target: np.ndarray, atoms: np.ndarray, k: int) -> tuple[list[int], np.ndarray]:
    """The definition: each time the atom of largest |cosine| to the residual, then least squares over all chosen."""
    chosen: list[int] = []
    left, coefficients = target, np.zeros(0)
    for _ in range(k):
        cosines = np.abs(atoms @ left) / np.linalg.norm(atoms, axis=1)
        cosines[chosen] = -1
        chosen.append(int(cosines.argmax()))
        coefficients = np.linalg.lstsq(atoms[chosen].T, target, rcond=None)[0]
        left = target - coefficients @ atoms[chosen]
    return chosen, coefficients


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_it_is_the_textbooks(place: Place, dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK_BYTES", 8 * 3 * (5 * 30 + 2 * 80))  # three targets a block
    generator = np.random.default_rng(0)
    atoms = generator.normal(size=(80, 30)) * generator.uniform(0.1, 10, size=(80, 1))
    targets = generator.normal(size=(10, 30))
    chosen, coefficients = matching_pursuit(targets.astype(dtype), atoms.astype(dtype), 5, place)
    for row, target in enumerate(targets):
        ids, values = _textbook(target, atoms, 5)
        assert chosen[row].tolist() == ids
        assert np.allclose(coefficients[row], values, rtol=1e-9 if dtype is np.float64 else 1e-3, atol=1e-5)
    assert coefficients.dtype == dtype


def test_values_of_scikit_learn() -> None:
    """orthogonal_mp of scikit-learn 1.9.1 on unit atoms, computed once."""
    generator = np.random.default_rng(7)
    atoms = generator.normal(size=(12, 6))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    chosen, coefficients = matching_pursuit(generator.normal(size=(1, 6)), atoms, 3)
    assert sorted(zip(chosen[0].tolist(), coefficients[0].round(9).tolist(), strict=True)) == [
        (2, 0.676880412),
        (4, -1.544026724),
        (5, 0.390580138),
    ]


def test_a_sparse_vector_is_found_again() -> None:
    atoms = np.linalg.qr(np.random.default_rng(0).normal(size=(20, 20)))[0]
    target = (3 * atoms[4] - 2 * atoms[11])[None]
    chosen, coefficients = matching_pursuit(target, atoms, 6)
    assert chosen[0, :2].tolist() == [4, 11]
    assert np.allclose(coefficients[0], [3, -2, 0, 0, 0, 0], atol=1e-12)  # nothing left after two
    assert len(set(chosen[0].tolist())) == 6


def test_atoms_that_depend_on_each_other_do_no_harm() -> None:
    generator = np.random.default_rng(1)
    atoms = generator.normal(size=(4, 16))
    atoms = np.concatenate([atoms, 2 * atoms, np.zeros((1, 16))])  # rank 4, and a row of zeros
    target = generator.normal(size=(3, 16))
    chosen, coefficients = matching_pursuit(target, atoms, 9)
    assert np.isfinite(coefficients).all()
    made = np.einsum("tk,tkd->td", coefficients, atoms[chosen])
    best = target @ np.linalg.pinv(atoms) @ atoms
    assert np.allclose(made, best, atol=1e-9)


def test_no_more_atoms_than_there_are_or_fit() -> None:
    generator = np.random.default_rng(2)
    targets = generator.normal(size=(2, 4))
    assert matching_pursuit(targets, generator.normal(size=(3, 4)), 64)[0].shape == (2, 3)
    chosen, coefficients = matching_pursuit(targets, generator.normal(size=(9, 4)), 64)
    assert chosen.shape == (2, 4)


def test_a_target_does_not_depend_on_the_others() -> None:
    generator = np.random.default_rng(3)
    targets, atoms = generator.normal(size=(5, 16)), generator.normal(size=(40, 16))
    together, alone = matching_pursuit(targets, atoms, 4), matching_pursuit(targets[3:4], atoms, 4)
    assert np.array_equal(together[0][3:4], alone[0]) and np.allclose(together[1][3:4], alone[1], atol=1e-12)
