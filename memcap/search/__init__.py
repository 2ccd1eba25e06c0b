"""Adaptive searches over populations of runs: where the bits peak over N, how small a network memorizes everything.

The logic knows neither Hydra nor training: a search asks for trials round by round and is told their values.
"""
