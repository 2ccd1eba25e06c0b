"""Symmetric matrices for the tests of what is measured by products alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rademacher(*shape: int, seed: int) -> Tensor:
    return torch.where(randn(*shape, seed=seed) < 0, -1.0, 1.0).double()


def products(matrices_MPP: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda vector_MP: torch.einsum("mij,mj->mi", matrices_MPP, vector_MP)


def matrix(spectrum: Tensor, seed: int) -> Tensor:
    """A symmetric matrix with these eigenvalues and random eigenvectors."""
    rotation_PP = torch.linalg.qr(randn(len(spectrum), len(spectrum), seed=seed)).Q
    return rotation_PP @ torch.diag(spectrum.double()) @ rotation_PP.T
