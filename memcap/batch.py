"""Samples of several members as tensors: stacked, padded to the longest, and where the members train."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from memcap.data import Samples

NUMPY_DTYPES = {torch.float32: np.float32, torch.float64: np.float64}


@dataclasses.dataclass
class Batch:
    """Samples of every member, padded to the largest N; ``mask_MN`` None where nothing is padded."""

    inputs_MND: Tensor
    targets: Tensor  # classes [M, N] or features [M, N, F]
    counts_M: Tensor  # N of each member, in the dtype of the losses
    mask_MN: Tensor | None

    @property
    def num_slots(self) -> int:
        """Samples of the longest member: the second axis."""
        return self.targets.shape[1]

    def keep(self, members: Tensor) -> Batch:
        mask_MN = None if self.mask_MN is None else self.mask_MN[members]
        return Batch(self.inputs_MND[members], self.targets[members], self.counts_M[members], mask_MN)

    def padded(self, num_slots: int, *, masked: bool) -> Batch:
        """The same samples with this second axis, as beside longer members that have ended meanwhile."""
        counts_M1 = self.counts_M[:, None].to(torch.int64)
        slots_1S = torch.arange(num_slots, device=counts_M1.device)[None]
        rows_MS = slots_1S % counts_M1
        inputs_MSD, targets = _rows_of(self.inputs_MND, rows_MS), _rows_of(self.targets, rows_MS)
        return Batch(inputs_MSD, targets, self.counts_M, slots_1S < counts_M1 if masked else None)

    def as_saved(self, num_slots: int, masked: bool) -> Batch:
        """The same samples as ``Population.saved`` says that they were; raises ValueError for fewer places."""
        if (self.num_slots, self.mask_MN is not None) == (num_slots, masked):
            return self
        if num_slots < self.num_slots:
            raise ValueError(f"its samples have {num_slots} places, not the {self.num_slots} there are")
        return self.padded(num_slots, masked=masked)

    def first(self, count: int) -> Batch:
        """The first ``count`` samples of each member, all of those that have fewer."""
        mask_MN = None if self.mask_MN is None else self.mask_MN[:, :count]
        return Batch(
            self.inputs_MND[:, :count],
            self.targets[:, :count],
            self.counts_M.clamp(max=count),
            None if mask_MN is None or bool(mask_MN.all()) else mask_MN,
        )

    def full_mask(self, like_MN: Tensor) -> Tensor:
        """A boolean mask [M, N], also where nothing is padded, on the device of another tensor."""
        if self.mask_MN is not None:
            return self.mask_MN.to(like_MN.device)
        return torch.ones(self.targets.shape[:2], dtype=torch.bool, device=like_MN.device)


def stacked(sets: Sequence[Samples], device: torch.device, dtype: torch.dtype) -> Batch:
    """The samples of M members, each a set of its own length."""
    counts = np.array([len(samples) for samples in sets])
    longest = int(counts.max())

    def padded(arrays: Sequence[np.ndarray]) -> Tensor:
        return on_device(_padded(arrays, longest, dtype), device).movedim(-1, 1)

    inputs_MND = padded([s.inputs_ND for s in sets])
    same = all(s.targets_N is s.inputs_ND for s in sets)
    targets = inputs_MND if same else padded([s.targets_N for s in sets])
    counts_M = on_device(torch.from_numpy(counts).to(dtype), device)
    mask_MN = None
    if bool((counts < longest).any()):
        mask_MN = torch.from_numpy(np.arange(longest) < counts[:, None]).to(device)
    return Batch(inputs_MND, targets, counts_M, mask_MN)


def on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host on another device; a CUDA GPU takes it from pinned memory, so nobody waits.

    Elsewhere the copy has ended when this returns: on Apple's GPUs (mps), torch frees or reuses the host's memory
    under one that has not, and the values are wrong without a word (pytorch issues 139550 and 189690).
    """
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _padded(arrays: Sequence[np.ndarray], longest: int, dtype: torch.dtype) -> Tensor:
    """Arrays [N, ...] of M members as one tensor [M, ..., N], the samples innermost, as ``product`` has them.

    Padding repeats real samples: a made-up input could be infinite under some formula, and its gradient
    would be NaN behind any mask.
    """
    kind = NUMPY_DTYPES[dtype] if arrays[0].dtype.kind == "f" else np.int64
    together = np.empty((len(arrays), *arrays[0].shape[1:], longest), kind)
    with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite
        for place, array in zip(together, arrays, strict=True):
            place[...] = array.T if len(array) == longest else array[np.arange(longest) % len(array)].T
    return torch.from_numpy(together)


def _rows_of(samples: Tensor, rows_MS: Tensor) -> Tensor:
    """Some samples [M, S, ...] of [M, N, ...], innermost in memory as ``stacked`` has them.

    A product's last bits depend on how its operands lie: what is restored must lie as what it stands for.
    """
    innermost = samples.movedim(1, -1)
    middle = (1,) * (innermost.dim() - 2)
    index = rows_MS.reshape(len(rows_MS), *middle, -1).expand(*innermost.shape[:-1], -1)
    return innermost.gather(-1, index).movedim(-1, 1)
