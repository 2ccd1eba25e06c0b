"""Keys of what is measured; none of them counts in a run's identity."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from memcap.config.fields import ignored
from memcap.errors import BadInput

MOST_DENSE = 2000  # parameters of which the full matrix is made: 32 MB in float64, and seconds to minutes


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeasureConfig:
    """What is measured along the way, which only training can give, and at the end, which kept weights can."""

    ALONG_THE_WAY: ClassVar = (
        "evaluation",
        "gradients",
        "conflict",
        "updates",
        "sharpness",
        "trace",
        "weights",
    )
    AT_THE_END: ClassVar = ("samples", "rounding", "optimum", "spectrum")
    # Of these, what kept weights cannot give even at the end: it needs the optimizer's state, or a path.
    TRAINING_ONLY: ClassVar = ("updates", "points")
    # More of them is more than fewer.
    NUMBERS: ClassVar = ("points", "num_eigenvalues")

    points: int = ignored(at_least=1)
    evaluation: bool = ignored()
    gradients: bool = ignored()
    conflict: bool = ignored()
    updates: bool = ignored()
    max_samples: int = ignored(at_least=2)
    sharpness: bool = ignored()
    hessian: str = ignored(choices=("lanczos", "dense"))
    num_eigenvalues: int = ignored(at_least=1)
    lanczos_iterations: int = ignored(at_least=1)
    lanczos_tolerance: float = ignored(above=0)
    trace: bool = ignored()
    trace_probes: int = ignored(at_least=2)
    weights: bool = ignored()
    samples: bool = ignored()
    rounding: bool = ignored()
    optimum: bool = ignored()
    spectrum: bool = ignored()
    spectrum_probes: int = ignored(at_least=1)
    spectrum_steps: int = ignored(at_least=2)

    def lacking(self, recorded: Mapping[str, Any]) -> list[str]:
        """Keys of what this asks for along the way and a run that was measured as ``recorded`` does not have."""
        parts = [name for name in self.ALONG_THE_WAY if getattr(self, name) and not recorded.get(name)]
        # Records that are older than num_eigenvalues have one.
        numbers = [name for name in self.NUMBERS if getattr(self, name) > recorded.get(name, 1)]
        if not self.sharpness:  # nobody looks at eigenvalues
            numbers = [name for name in numbers if name != "num_eigenvalues"]
        return parts + numbers

    def lacking_at_the_end(self, recorded: Mapping[str, Any]) -> list[str]:
        """Keys of what this asks for at the end and a run that was measured as ``recorded`` does not have."""
        return [name for name in self.AT_THE_END if getattr(self, name) and not recorded.get(name)]

    def at_the_end(self) -> MeasureConfig:
        """Only what is measured once, at the end."""
        off: dict[str, Any] = dict.fromkeys(self.ALONG_THE_WAY, False)
        return dataclasses.replace(self, **off)

    def joined(self, recorded: Mapping[str, Any]) -> MeasureConfig:
        """This and what a run that was measured as ``recorded`` has, so that measuring it again loses nothing."""
        names = self.ALONG_THE_WAY + self.AT_THE_END
        both: dict[str, Any] = {name: getattr(self, name) or bool(recorded.get(name)) for name in names}
        both |= {name: max(getattr(self, name), recorded.get(name, 0)) for name in self.NUMBERS}
        return dataclasses.replace(self, **both)


def eigenvalue_metric(number: int) -> str:
    """The name of one of the largest eigenvalues of the Hessian, counted from 1."""
    return "sharpness/top_eigenvalue" if number == 1 else f"sharpness/eigenvalue_{number}"


def measured(result: Mapping[str, Any]) -> dict[str, Any]:
    """What a finished run has, along the way or at its end only, in the keys of ``MeasureConfig``."""
    at_end = {name: True for name in result.get("measured_at_end", ()) if name in MeasureConfig.ALONG_THE_WAY}
    number = 0
    while eigenvalue_metric(number + 1) in result["summary"]:
        number += 1
    return {**result["config"]["measure"], **at_end, "num_eigenvalues": number}


def check_measure(measure: MeasureConfig, num_parameters: int) -> None:
    """Measures that a model is too large or too small for: raises BadInput with the way out."""
    if measure.hessian == "dense" and measure.sharpness and num_parameters > MOST_DENSE:
        raise BadInput(
            f"measure.hessian=dense needs at most {MOST_DENSE:,} parameters, got {num_parameters:,}; use"
            " measure.hessian=lanczos"
        )
    lanczos = measure.sharpness and measure.hessian == "lanczos"
    if lanczos and measure.num_eigenvalues > measure.lanczos_iterations:
        raise BadInput(
            f"measure.num_eigenvalues must be ≤ measure.lanczos_iterations = {measure.lanczos_iterations}, got"
            f" {measure.num_eigenvalues}"
        )
