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
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError(f"device {name}: expected a CUDA GPU; this machine has none that PyTorch can use")
    return device
