"""Hidden layers of one width, an output layer and a head."""

from __future__ import annotations

import functools

from memcap.config.model_schema import MlpConfig
from memcap.models.chain import Chain, Layer


class Mlp(Chain):
    """x -> act(x A1) -> ... -> act(h AL) -> h B -> logits = (h B) C.

    A1 is [D, W], A2..AL [W, W], B [W, output_dim], C [output_dim, V]; between B and the head C stands no
    activation. ``depth`` L counts hidden layers: depth 1 is what Memory 2 (Liu 2026) calls a two-layer MLP.
    ``residual`` adds h to act(h A) in the W -> W layers.
    """

    config: MlpConfig

    @functools.cached_property
    def layers(self) -> tuple[Layer, ...]:
        dims, depth = self.config.layer_dims(self.data), self.config.depth
        hidden = [
            Layer(
                f"hidden{i + 1}", dims[i], dims[i + 1], activated=True, skips=self.config.residual and i > 0
            )
            for i in range(depth)
        ]
        output = Layer("output", dims[depth], dims[depth + 1], activated=False)
        return (*hidden, output, Layer("head", dims[depth + 1], dims[depth + 2], activated=False))

    @property
    def num_parameters_without_head(self) -> int:
        head = self.layers[-1]
        return self.num_parameters - (head.fan_in + self.config.bias) * head.fan_out

    @property
    def num_parameters_effective(self) -> int:
        """Output layer and head multiply to one matrix [W, V], of which one column is free.

        It has W (V - 1) entries, and r (W + V - 1 - r) dimensions when the output dimension bounds its rank to
        r; one bias of V - 1 remains of the two.
        """
        *hidden_layers, output, _ = self.layers
        hidden = sum((layer.fan_in + self.config.bias) * layer.fan_out for layer in hidden_layers)
        width, free = output.fan_in, self.num_outputs_effective
        rank = min(width, output.fan_out, free)
        return hidden + rank * (width + free - rank) + (free if self.config.bias else 0)
