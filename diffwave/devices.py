"""Which device to run on."""

from __future__ import annotations

import torch


class DeviceError(ValueError):
    """A device that this machine does not have."""


def pick_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``cuda:1`` into a device.

    Raises:
        DeviceError: if the name is not a device, or a GPU is named and there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DeviceError(f"device {name}: expected auto, cpu, cuda or cuda:NUMBER") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError(f"device {name}: expected a CUDA GPU; this machine has none that PyTorch can use")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(f"device {name}: expected one of {torch.cuda.device_count()} GPUs, counted from cuda:0")
    return device
