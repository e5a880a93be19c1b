"""Options of a synthesis: one signature for all methods, one way to what a checkpoint leaves open."""

from __future__ import annotations

import dataclasses
import inspect
import json

import numpy as np
import pytest
import torch
from torch import Tensor

from diffwave.cli.vocoder_arguments import add_sampling, options_of
from diffwave.config import AS_TRAINED, MelConfig, SynthesisOptions
from diffwave.terminal.arguments import CommandParser
from diffwave.vocoder import Vocoder
from tiny import tiny_vocoder

NAMES = [each.name for each in dataclasses.fields(SynthesisOptions)]


@pytest.fixture(scope="module")
def vocoder() -> Vocoder:
    return tiny_vocoder(MelConfig())


@pytest.fixture(scope="module")
def mel() -> Tensor:
    return torch.randn(80, 12, generator=torch.Generator().manual_seed(0)) * 1.5 - 5


def test_every_method_has_the_fields_as_its_signature() -> None:
    for method in (Vocoder.synthesize, Vocoder.synthesize_batch, Vocoder.stream):
        parameters = inspect.signature(method).parameters
        assert list(parameters)[2:][: len(NAMES)] == NAMES
        assert [parameters[name].default for name in NAMES] == list(dataclasses.astuple(AS_TRAINED))


def test_the_command_line_and_the_service_have_the_fields_too() -> None:
    parser = CommandParser()
    add_sampling(parser)
    line = ["--steps", "3", "--sampler", "ddim", "--consistency", "0", "--consistency-at", "end", "--refinements", "0"]
    expected = SynthesisOptions(3, "ddim", 0, 0, "end", 0)
    assert options_of(parser.parse_args(line)) == expected
    assert options_of(parser.parse_args([])) == AS_TRAINED
    queries = pytest.importorskip("diffwave.serving.queries", reason="pip install 'diffwave-vocoder[serve]'")
    assert list(inspect.signature(queries.options_of).parameters) == ["request", *NAMES]


def test_own_options_hold_unless_others_are_given(vocoder: Vocoder, mel: Tensor) -> None:
    other = vocoder.with_options(SynthesisOptions(steps=2, seed=5))
    assert vocoder.options == AS_TRAINED
    assert torch.equal(other.synthesize(mel), vocoder.synthesize(mel, steps=2, seed=5))
    assert torch.equal(other.synthesize(mel, seed=1), vocoder.synthesize(mel, 2, seed=1))
    assert torch.equal(other.synthesize_batch([mel])[0], other.synthesize(mel=mel))
    assert torch.equal(torch.cat(list(other.stream([mel], steps=1))), vocoder.synthesize(mel, 1, seed=5))


def test_unknown_options_and_numbers_that_are_none_are_refused(vocoder: Vocoder, mel: Tensor) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'stepz'"):
        vocoder.synthesize(mel, stepz=2)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match=r"steps: expected a number or 'full'; got 2\.0"):
        vocoder.synthesize(mel, steps=2.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="refinements: expected 0, for this model has no refiner; got 1"):
        vocoder.with_options(SynthesisOptions(refinements=1))


def test_the_record_is_plain_and_complete(vocoder: Vocoder) -> None:
    record = vocoder.record(vocoder.resolve(SynthesisOptions(steps=np.int64(2), consistency=np.int64(3))))  # type: ignore[arg-type]
    assert json.loads(json.dumps(record)) == record
    assert {*NAMES, "schedule", "device", "backend", "precision"} == set(record)
    assert record["steps"] == len(record["schedule"]) == 2
    # What does not work without consistency is not recorded as if it did.
    alone = vocoder.resolve(SynthesisOptions(consistency=0, consistency_at="warm")).record()
    assert (alone["consistency"], alone["consistency_at"], alone["refinements"]) == (0, "end", 0)
