"""Measures: what a population's state says about memory, sharpness and gradients, as pure functions.

Every function is batched over the members (first axis), runs on the device and in the dtype of its tensors,
and gives member i a value that its neighbours cannot change, be they NaN, larger, or slower to converge.
Knobs are keyword-only; no configuration, tracker or random state is read. A value that is estimated comes
with its own quality (a residual, a standard error). Nothing is imported here: `points` needs no torch.
"""
