"""Settings: the schema, and the only home of defaults.

``ModelConfig`` is what a checkpoint stores, ``TrainingConfig`` adds data and optimisation. Code below ``cli/`` takes
the dataclass it needs, never a dictionary and never the whole configuration.

Every check that involves one dataclass stands in its ``__post_init__``; checks between two of them stand where the two
meet (``ModelConfig``, ``TrainingConfig``). All raise ``ConfigError``, whose message says what was expected and what
came.
"""

from diffwave.config.checks import ConfigError, require
from diffwave.config.conventions import (
    CONVENTIONS,
    MelConvention,
    check_speakable,
    convention_name,
    mel_convention,
    mel_preset,
)
from diffwave.config.mel import MelConfig
from diffwave.config.model import BASE, LARGE, DiffusionConfig, ModelConfig, NetworkConfig
from diffwave.config.refiner import RefinerConfig
from diffwave.config.sampling import SamplingConfig
from diffwave.config.synthesis import AS_TRAINED, SynthesisOptions
from diffwave.config.training import DataConfig, OptimizationConfig, TrainingConfig

__all__ = [
    "AS_TRAINED",
    "BASE",
    "CONVENTIONS",
    "LARGE",
    "ConfigError",
    "DataConfig",
    "DiffusionConfig",
    "MelConfig",
    "MelConvention",
    "ModelConfig",
    "NetworkConfig",
    "OptimizationConfig",
    "RefinerConfig",
    "SamplingConfig",
    "SynthesisOptions",
    "TrainingConfig",
    "check_speakable",
    "convention_name",
    "mel_convention",
    "mel_preset",
    "require",
]
