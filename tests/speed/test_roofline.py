"""The closed forms of the work, against what PyTorch counts in a real network, and how limits follow from it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from diffwave.config import BASE, LARGE, MelConfig, ModelConfig, NetworkConfig
from diffwave.network.diffwave import DiffWave
from diffwave.speed import timing
from diffwave.speed.roofline import Work, call_work, layer_work, preparation_work, roofline, synthesis_work
from diffwave.speed.timing import MachineLimits, Spread, measure_limits, peak_memory
from tiny import TINY

CPU = torch.device("cpu")
SMALL = ModelConfig(network=NetworkConfig(residual_channels=6, residual_layers=4, dilation_cycle=2))
PRIME_HOP = dataclasses.replace(
    TINY, mel=MelConfig(hop_length=152, n_mels=20), network=dataclasses.replace(TINY.network, squeeze=8)
)
OVERLAP_ONLY = dataclasses.replace(SMALL, network=dataclasses.replace(SMALL.network, squeeze_overlap=3))
MODELS = {"paper": SMALL, "squeezed": TINY, "upsampling by a prime": PRIME_HOP, "overlap": OVERLAP_ONLY}


def counted(config: ModelConfig, frames: int, steps: int, batch: int, kept: bool) -> int:
    """Operations of a synthesis with a real network, as PyTorch counts them.

    Of the upsampler those of the convolutions that it is made of: how it computes them is its own affair.
    """
    network = DiffWave(config).eval()
    mel = torch.zeros(batch, config.mel.n_mels, frames)
    noisy = torch.zeros(batch, frames * config.mel.hop_length)
    upsampler = network.spectrogram_upsampler
    with torch.no_grad():
        condition = network.condition(mel)
        with FlopCounterMode(display=False) as counter:
            upsampler.conv2(upsampler.conv1(mel.unsqueeze(1)))
            if kept:
                condition = network.prepare(condition, calls=max(steps, 2))
            for step in range(steps):
                network(noisy, torch.full((batch,), float(step)), condition)
    return counter.get_total_flops()


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_operations_are_what_pytorch_counts(name: str, kept: bool) -> None:
    config = MODELS[name]
    work = synthesis_work(config, 5 * config.mel.hop_length, steps=3, batch=2, kept=kept, width=4)
    assert work.operations == counted(config, 5, 3, 2, kept)


def test_published_models_by_hand() -> None:
    # A layer of BASE, for one sample: 3 taps and the output projection of 64 channels to 128, and 80 bands to 128.
    assert layer_work(BASE, 1, kept=True, width=4).operations == 2 * 128 * 64 * 4
    assert layer_work(BASE, 1, kept=False, width=4).operations == 2 * 128 * (64 * 4 + 80)
    # Four times the channels squared.
    assert layer_work(LARGE, 7, kept=True, width=2).operations == 4 * layer_work(BASE, 7, kept=True, width=4).operations
    # 30 such layers, 64 input and output products, 64 by 64 for the skip projection; the embedding once.
    call = (
        call_work(BASE, 2560, 1, kept=True, width=4).operations
        - call_work(BASE, 1280, 1, kept=True, width=4).operations
    )
    assert call == 1280 * (30 * 65536 + 2 * 64 + 2 * 64 + 2 * 64 * 64)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("width", [2, 4])
def test_with_no_positions_only_the_weights_are_moved(name: str, width: int) -> None:
    config = MODELS[name]
    network = DiffWave(config)
    upsampler = sum(weight.numel() for weight in network.spectrogram_upsampler.parameters())
    weights = sum(weight.numel() for weight in network.parameters()) - upsampler
    assert call_work(config, 0, 1, kept=False, width=width).traffic == weights * width
    assert preparation_work(config, 0, 1, kept=False, width=width).traffic == upsampler * width


def test_traffic_of_one_position_by_hand() -> None:
    channels, bands, layers = 6, 80, 4
    per_sample = (
        call_work(SMALL, 2, 1, kept=False, width=2).traffic - call_work(SMALL, 1, 1, kept=False, width=2).traffic
    )
    # Samples in float32 in and out; C out of the first convolution and into the last; the skip projection; in every
    # layer C in, C out, the mel, and the sum of skips read and written, but for the first and the last.
    stack = layers * (4 * channels + bands) - 2 * channels
    assert per_sample == 2 * 4 + 2 * (2 * channels + 2 * channels + stack)


def test_kept_projections_trade_operations_for_memory() -> None:
    again, kept = (synthesis_work(BASE, 22016, 6, 1, kept=way, width=2) for way in (False, True))
    assert kept.operations < again.operations
    assert kept.traffic > again.traffic
    # For a single step there is nothing to win.
    once = [synthesis_work(BASE, 22016, 1, 1, kept=way, width=2).operations for way in (False, True)]
    assert once[0] == once[1]


def test_a_batch_is_as_much_work_as_its_examples_but_reads_weights_once() -> None:
    one, four = (synthesis_work(TINY, 2560, 2, batch, kept=True, width=4) for batch in (1, 4))
    assert four.operations == 4 * one.operations
    assert four.traffic < 4 * one.traffic


def test_the_roofline_takes_the_better_way_and_the_harder_limit() -> None:
    plenty_of_memory = roofline(BASE, 22016, 6, 1, 2, MachineLimits(operations=1e9, traffic=1e15))
    assert (plenty_of_memory.kept, plenty_of_memory.limit) == (True, "compute")
    assert plenty_of_memory.seconds == plenty_of_memory.work.operations / 1e9
    plenty_of_arithmetic = roofline(BASE, 22016, 6, 1, 2, MachineLimits(operations=1e18, traffic=1e9))
    assert (plenty_of_arithmetic.kept, plenty_of_arithmetic.limit) == (False, "memory")
    assert plenty_of_arithmetic.seconds == plenty_of_arithmetic.work.traffic / 1e9


@pytest.mark.parametrize("samples", [0, -256, 100])
def test_a_length_that_is_no_number_of_frames_is_refused(samples: int) -> None:
    with pytest.raises(ValueError, match="multiple of the hop, 256"):
        synthesis_work(BASE, samples, 6, 1, kept=True, width=4)


def test_work_adds_up() -> None:
    assert Work(1, 2) + Work(10, 20) * 3 == Work(31, 62)
    assert Work(10, 4).seconds(MachineLimits(operations=5, traffic=4)) == 2


def test_limits_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "_MATRICES", {"cpu": (64, 128)})
    monkeypatch.setattr(timing, "_COPIED_BYTES", {"cpu": 1 << 20})
    limits = measure_limits(CPU, torch.float32)
    assert 1e7 < limits.operations < 1e15
    assert 1e7 < limits.traffic < 1e14


def test_spread() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0, (3.0, 1.0, 2.0))


def test_peak_memory_sees_what_a_call_holds_for_a_moment() -> None:
    size = 64 << 20
    small = peak_memory(lambda: None, CPU)
    large = peak_memory(lambda: float(torch.ones(size // 4).sum()), CPU)
    if small is None or large is None:
        pytest.skip("this system does not tell how much memory a process holds")
    assert small < size / 4
    assert size * 0.9 < large < size * 2


def test_peak_memory_is_unknown_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(timing, "_RESET", tmp_path / "none" / "clear_refs")
    assert peak_memory(lambda: None, CPU) is None
    monkeypatch.setattr(timing, "_RESET", tmp_path / "clear_refs")
    monkeypatch.setattr(timing, "_STATUS", tmp_path / "status")
    assert peak_memory(lambda: None, CPU) is None
