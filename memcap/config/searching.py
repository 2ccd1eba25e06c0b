"""What an optimizer asks for whose steps depend on the loss that they find."""

from __future__ import annotations

from memcap.config.schema import DataConfig, HardwareConfig, OptimizerConfig, ScheduleConfig
from memcap.errors import BadInput


def check_searching(
    optimizer: OptimizerConfig, schedule: ScheduleConfig, data: DataConfig, hardware: HardwareConfig
) -> None:
    """Raises BadInput with the way out where such an optimizer meets something that it cannot use."""
    if not optimizer.searches:
        return
    which = f"optimizer={optimizer.kind}"
    if data.num_samples is None or data.batch_size is not None:
        got = "data.num_samples=null" if data.num_samples is None else f"data.batch_size={data.batch_size}"
        raise BadInput(
            f"{which} compares losses of the same samples, so it takes full batches, got {got}; use"
            " data.batch_size=null with a finite data.num_samples, or optimizer=adam"
        )
    if schedule.kind != "constant" or schedule.warmup_steps:
        got = schedule.kind if schedule.kind != "constant" else f"warmup_steps={schedule.warmup_steps}"
        raise BadInput(
            f"{which} finds the length of its steps itself, got schedule {got}; use schedule=constant"
            " schedule.warmup_steps=0"
        )
    if optimizer.clip_norm is not None:
        raise BadInput(
            f"{which} finds the length of its steps itself, got optimizer.clip_norm={optimizer.clip_norm:g}; use"
            " optimizer.clip_norm=null"
        )
    if hardware.autocast != "none":
        raise BadInput(
            f"{which} compares losses to their last digits, got hardware.autocast={hardware.autocast}; use"
            " hardware.autocast=none"
        )
