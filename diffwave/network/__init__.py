"""The networks: DiffWave itself, and the small one that finds a finer mel."""

from diffwave.network.diffwave import Condition, DiffWave
from diffwave.network.refiner import Refiner

__all__ = [
    "Condition",
    "DiffWave",
    "Refiner",
]
