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
