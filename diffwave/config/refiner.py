"""Settings of the refiner, the small network that finds a finer mel."""

from __future__ import annotations

from dataclasses import dataclass, field

from diffwave.config.checks import require


@dataclass(frozen=True)
class RefinerConfig:
    """Shape of the refiner (:mod:`diffwave.network.refiner`).

    Args:
        channels: of its stream.
        hidden: between the two products of a block.
        dilations: of the blocks, one each, in mel frames; empty: there is no refiner.
    """

    channels: int = 256
    hidden: int = 384
    dilations: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("channels", "hidden"):
            value = getattr(self, name)
            require(value >= 1, f"refiner.{name} must be at least 1; got {value}")
        require(
            all(dilation >= 1 for dilation in self.dilations),
            f"refiner.dilations must be at least 1; got {self.dilations}",
        )
