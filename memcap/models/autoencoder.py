"""Features squeezed through a narrow layer and back."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from memcap.config.model_schema import AutoencoderConfig
from memcap.models.initialization import initial_matrix
from memcap.models.model import Activate, Model
from memcap.models.product import product


class Autoencoder(Model):
    """x' = act(x W Wᵀ + b), W [F, width]: the toy model of superposition (Elhage et al. 2022, arXiv 2209.10652).

    Untied, the decoder is a matrix of its own. The bias starts at zero.
    """

    config: AutoencoderConfig

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        features, width = self.data.num_inputs, self.config.width
        shapes: dict[str, tuple[int, ...]] = {"encoder.weight": (features, width)}
        if not self.config.tied:
            shapes["decoder.weight"] = (width, features)
        if self.config.bias:
            shapes["decoder.bias"] = (features,)
        return shapes

    def initialize(self, config: AutoencoderConfig, seed: int) -> dict[str, np.ndarray]:
        features, width = self.data.num_inputs, config.width
        scheme, scale = config.initialization, config.initialization_scale
        values = {
            "encoder.weight": initial_matrix(seed, "encoder", features, width, scheme=scheme, scale=scale)
        }
        if not config.tied:
            values["decoder.weight"] = initial_matrix(
                seed, "decoder", width, features, scheme=scheme, scale=scale
            )
        if config.bias:
            values["decoder.bias"] = np.zeros(features)
        return values

    def forward(self, parameters: dict[str, Tensor], inputs_MND: Tensor, activate: Activate) -> Tensor:
        encoder = parameters["encoder.weight"]
        decoder = encoder.transpose(1, 2) if self.config.tied else parameters["decoder.weight"]
        return activate(product(product(inputs_MND, encoder), decoder, parameters.get("decoder.bias")))

    @property
    def num_parameters_effective(self) -> int:
        """A product of rank r = min(width, F) has r (2F - r) dimensions, a symmetric one F r - r (r - 1) / 2.

        The difference to the number of parameters is the freedom to turn the hidden layer.
        """
        features = self.data.num_inputs
        rank = min(self.config.width, features)
        free = rank * (2 * features - rank)
        if self.config.tied:
            free = features * rank - rank * (rank - 1) // 2
        return free + (features if self.config.bias else 0)
