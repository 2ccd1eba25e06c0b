"""Krylov spaces: orthonormal bases in which the matrix is tridiagonal, also where Lanczos loses them."""

from __future__ import annotations

import pytest
import torch

from memcap.measures.krylov import KrylovSpace


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-13), (torch.float32, 2e-5)])
def test_bases_stay_orthonormal_and_the_matrix_tridiagonal(dtype: torch.dtype, atol: float) -> None:
    # Eigenvalues over ten decades converge one after the other, which is what ruins plain Lanczos.
    spectrum_P = torch.logspace(0, -10, 120, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    start_MP = torch.randn(2, 120, generator=generator, dtype=torch.float64).to(dtype)
    space = KrylovSpace(start_MP, max_size=40)
    for _ in range(40):
        space.extend(spectrum_P.to(dtype) * space.direction_MP)
    for member in range(2):
        basis_KP = space.basis_MKP[member, : int(space.sizes_M[member])].double()
        identity_KK = torch.eye(len(basis_KP), dtype=torch.float64)
        torch.testing.assert_close(basis_KP @ basis_KP.T, identity_KK, rtol=0, atol=atol)
        beta_K = space.offdiagonal_MK[member, : len(basis_KP) - 1]
        tridiagonal_KK = torch.diag(space.diagonal_MK[member, : len(basis_KP)])
        tridiagonal_KK += torch.diag(beta_K, 1) + torch.diag(beta_K, -1)
        projected_KK = (basis_KP * spectrum_P) @ basis_KP.T
        torch.testing.assert_close(projected_KK, tridiagonal_KK, rtol=0, atol=atol)


def test_a_space_beside_locked_vectors_stays_orthogonal_to_them() -> None:
    # The space of 3 distinct eigenvalues left is invariant up to rounding; what comes next is noise made large.
    spectrum_P = torch.tensor([5.0, 4.0] + [3.0, 2.0, 1e-6] * 6, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    rotation_PP = torch.linalg.qr(torch.randn(20, 20, generator=generator, dtype=torch.float64)).Q
    matrix_PP = rotation_PP @ torch.diag(spectrum_P) @ rotation_PP.T
    start_MP = torch.randn(1, 20, generator=generator, dtype=torch.float64)
    locked_MEP = torch.cat([rotation_PP[:, :2].T, torch.full((1, 20), torch.nan)])[None]
    locked = (torch.tensor([[5.0, 4.0, torch.nan]], dtype=torch.float64), locked_MEP)
    space = KrylovSpace(start_MP, max_size=12, locked=locked)
    for _ in range(12):
        space.extend(space.direction_MP @ matrix_PP)
    basis_KP = space.basis_MKP[0, : int(space.sizes_M[0])]
    assert len(basis_KP) >= 3
    torch.testing.assert_close(
        basis_KP @ locked_MEP[0, :2].T, torch.zeros(len(basis_KP), 2).double(), rtol=0, atol=1e-12
    )
    torch.testing.assert_close(
        basis_KP @ basis_KP.T, torch.eye(len(basis_KP), dtype=torch.float64), rtol=0, atol=1e-12
    )


def test_a_start_within_the_locked_vectors_is_nothing() -> None:
    start_MP = torch.tensor([[1.0, 2.0, 0.0], [1.0, 2.0, 1e-3]], dtype=torch.float64)
    locked_MEP = torch.eye(3, dtype=torch.float64)[None, :2].expand(2, 2, 3)
    space = KrylovSpace(start_MP, max_size=3, locked=(torch.ones(2, 2, dtype=torch.float64), locked_MEP))
    assert space.direction_MP[0].isnan().all()
    assert space.direction_MP[1].tolist() == [0.0, 0.0, 1.0]
