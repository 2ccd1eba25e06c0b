"""memcap measures how many bits a neural network can memorize.

Axis letters, the same in every module (a suffix names a tensor's axes, as in ``logits_MNV``):

====  =======================================================
M     members of a population (always the first axis)
N     samples
D     input dimension
W     width of a hidden layer
V     classes, or the vocabulary
T     tokens
F     features
L     layers
K     steps, where several are prepared together
P     parameters of one member; a flat count, never a shape of its own
====  =======================================================

Units stand in names: ``loss_nats``, ``capacity_bits``, ``time_s``.
"""

__version__ = "0.1.0"
