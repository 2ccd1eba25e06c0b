"""Symmetric matrices for the tests of what is measured by products alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from memcap.measures.sharpness import top_eigenvalues


class Eigenpair(NamedTuple):
    """The first of ``Eigenpairs``."""

    value_M: Tensor
    residual_M: Tensor
    vector_MP: Tensor
    iterations_M: Tensor


def top_eigenvalue(product: Callable[[Tensor], Tensor], start_MP: Tensor, **limits: Any) -> Eigenpair:
    """The largest eigenvalue alone."""
    pairs = top_eigenvalues(product, start_MP, count=1, **limits)
    return Eigenpair(
        pairs.values_ME[:, 0], pairs.residuals_ME[:, 0], pairs.vectors_MEP[:, 0], pairs.iterations_M
    )


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
