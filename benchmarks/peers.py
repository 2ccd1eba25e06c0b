"""The same trainings as others would write them: a PyTorch loop, torch.func, JAX. Used by ``engines.py``.

Each peer trains networks D -> W -> D -> V without biases (ReLU after the first layer), full batch, Adam, float32,
on random labels, and returns seconds: what it took to get ready (compilation, the first call), and the training itself.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np
import torch

D = V = 10
RATE = 0.01


class Timing(NamedTuple):
    """Processor seconds until it runs at full speed, those of the steps, how many steps, the last mean loss."""

    ready_s: float
    training_s: float
    steps: int
    loss_nats: float


class Problem(NamedTuple):
    """M networks of one width, each with N samples of its own and weights [fan_in, fan_out] to start from."""

    inputs_MND: np.ndarray
    labels_MN: np.ndarray
    weights: list[np.ndarray]

    @classmethod
    def draw(cls, members: int, num_samples: int, width: int) -> Problem:
        generator = np.random.default_rng(0)
        inputs = generator.standard_normal((members, num_samples, D)).astype(np.float32)
        labels = generator.integers(0, V, (members, num_samples))
        shapes = [(D, width), (width, D), (D, V)]
        uniform = (generator.uniform(-1, 1, (members, *shape)) / np.sqrt(shape[0]) for shape in shapes)
        return cls(inputs, labels, [array.astype(np.float32) for array in uniform])


def pytorch_loop(problem: Problem, steps: int, *, threads: int = 1) -> Timing:
    """One network after the other, as a notebook has it: nn.Sequential, torch.optim.Adam, a for loop."""
    torch.set_num_threads(threads)
    started, losses = time.process_time(), []
    for member in range(len(problem.inputs_MND)):
        inputs = torch.from_numpy(problem.inputs_MND[member])
        labels = torch.from_numpy(problem.labels_MN[member])
        layers = [torch.nn.Linear(*weight.shape[1:], bias=False) for weight in problem.weights]
        for layer, weight in zip(layers, problem.weights, strict=True):
            layer.weight.data = torch.from_numpy(weight[member].T.copy())
        model = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], layers[2])
        optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
        for _ in range(steps):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    return Timing(0.0, time.process_time() - started, steps, float(np.mean(losses)))


def torch_func(problem: Problem, steps: int, *, threads: int = 1) -> Timing:
    """All networks at once: torch.func.vmap of grad, and Adam written out for the stacked weights."""
    from torch.func import grad_and_value, vmap

    torch.set_num_threads(threads)

    def loss(weights: list[torch.Tensor], inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        logits = torch.relu(inputs @ weights[0]) @ weights[1] @ weights[2]
        return torch.nn.functional.cross_entropy(logits, labels)

    step = vmap(grad_and_value(loss))
    weights = [torch.from_numpy(array.copy()) for array in problem.weights]
    means, squares = [torch.zeros_like(w) for w in weights], [torch.zeros_like(w) for w in weights]
    inputs, labels = torch.from_numpy(problem.inputs_MND), torch.from_numpy(problem.labels_MN)
    started = time.process_time()
    for t in range(1, steps + 1):
        gradients, values = step(weights, inputs, labels)
        for weight, gradient, mean, square in zip(weights, gradients, means, squares, strict=True):
            mean.lerp_(gradient, 0.1)
            square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            scale = (square / (1 - 0.999**t)).sqrt_().add_(1e-8)
            weight.addcdiv_(mean, scale, value=-RATE / (1 - 0.9**t))
    return Timing(0.0, time.process_time() - started, steps, float(values.mean()))


def jax_scan(problem: Problem, steps: int) -> Timing:
    """All networks at once: jit of vmap of a scan over the steps; JAX takes the cores that it finds."""
    import jax
    import jax.numpy as jnp

    def loss(weights: Any, inputs: Any, labels: Any) -> Any:
        logits = jax.nn.relu(inputs @ weights[0]) @ weights[1] @ weights[2]
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean()

    def train(weights: Any, inputs: Any, labels: Any) -> Any:
        def step(state: Any, t: Any) -> Any:
            weights, means, squares = state
            value, gradients = jax.value_and_grad(loss)(weights, inputs, labels)
            means = [0.9 * m + 0.1 * g for m, g in zip(means, gradients, strict=True)]
            squares = [0.999 * s + 0.001 * g * g for s, g in zip(squares, gradients, strict=True)]
            moved = [
                w - RATE / (1 - 0.9**t) * m / (jnp.sqrt(s / (1 - 0.999**t)) + 1e-8)
                for w, m, s in zip(weights, means, squares, strict=True)
            ]
            return (moved, means, squares), value

        zeros = [jnp.zeros_like(w) for w in weights]
        _, values = jax.lax.scan(step, (weights, zeros, zeros), jnp.arange(1, steps + 1, dtype=jnp.float32))
        return values[-1]

    arguments = (
        [jnp.asarray(w) for w in problem.weights],
        jnp.asarray(problem.inputs_MND),
        jnp.asarray(problem.labels_MN),
    )
    started = time.process_time()
    compiled = jax.jit(jax.vmap(train)).lower(*arguments).compile()
    ready_s = time.process_time() - started
    started = time.process_time()
    value = float(compiled(*arguments).mean())
    return Timing(ready_s, time.process_time() - started, steps, value)
