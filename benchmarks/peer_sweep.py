"""A sweep as a scientist would write it without memcap: Hydra's basic launcher, a PyTorch loop, a W&B run per cell.

Called by ``sweep.py``: ``python benchmarks/peer_sweep.py -m seed=0,1,2 width=16``. Logs loss and bits 25 times.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import hydra
import numpy as np
import torch
import wandb
from hydra.core.config_store import ConfigStore

D = V = 10


@dataclass
class Config:
    """The keys that the sweep needs."""

    seed: int = 0
    width: int = 16
    num_samples: int = 300
    steps: int = 5000
    learning_rate: float = 0.01


ConfigStore.instance().store(name="peer", node=Config)


@hydra.main(config_name="peer", version_base="1.3")
def main(config: Config) -> float:
    """Trains one network and returns its bits."""
    run = wandb.init(project="peer", mode="offline", config=dict(config), reinit="finish_previous")
    generator = np.random.default_rng(config.seed)
    inputs = torch.from_numpy(generator.standard_normal((config.num_samples, D)).astype(np.float32))
    labels = torch.from_numpy(generator.integers(0, V, config.num_samples))
    torch.manual_seed(config.seed)
    sizes = [(D, config.width), (config.width, D), (D, V)]
    layers = [torch.nn.Linear(*size, bias=False) for size in sizes]
    model = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], layers[2])
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    points = set(np.unique(np.geomspace(1, config.steps, 25).round().astype(int)).tolist())
    bits = 0.0
    for step in range(1, config.steps + 1):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        if step in points:
            bits = config.num_samples * (math.log2(V) - loss.item() / math.log(2))
            run.log({"loss": loss.item(), "bits": bits}, step=step)
    run.finish()
    return bits


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
