"""What a variant's network costs: operations for as much audio, beside the default's."""

from __future__ import annotations

from functools import cache

from ablation.variants import LMNT, Variant
from diffwave.config import BASE, ModelConfig
from diffwave.config.composing import compose_config
from diffwave.speed.roofline import call_work


def relative_cost(variant: Variant) -> float:
    """Operations of one network call in training (projections of the mel included), over the default's."""
    # What does not change the network need not be composed, which takes a while.
    shape = tuple(text for text in variant.overrides if text.startswith("model.network."))
    return _operations(BASE if variant.name == LMNT else _model(shape)) / _operations(_model(()))


def _operations(model: ModelConfig) -> int:
    hops = model.mel.sample_rate // model.mel.hop_length
    return call_work(model, hops * model.mel.hop_length, batch=1, kept=False, width=2).operations


@cache
def _model(overrides: tuple[str, ...]) -> ModelConfig:
    return compose_config(["experiment=librispeech_fast", *overrides]).model
