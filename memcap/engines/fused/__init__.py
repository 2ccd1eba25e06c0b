"""The fused engine: chains of layers on the processor, forward and backward over blocks that stay in the cache."""
