"""Blocks and streams: the same waveform, however the mel arrives."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
import torch
from torch import Tensor

from diffwave.checkpoint.folder import Checkpoint
from diffwave.config import AS_TRAINED, BASE, DiffusionConfig, ModelConfig, NetworkConfig, RefinerConfig, SamplingConfig
from diffwave.mel.consistency import MelConsistency, push_together
from diffwave.mel.spectrogram import MelWarning
from diffwave.network.diffwave import DiffWave
from diffwave.network.refiner import Refiner, refine
from diffwave.vocoder import Vocoder
from tiny import TINY, random_weights

SPEECH = Path(__file__).parents[1] / "data" / "839-130898-0000.flac"
FRAMES_A_SECOND = 16000 / 256
SMALL_BLOCKS = {"block_frames": 24, "first_block_frames": 8}
SECONDS = (0.1, 0.37, 1, 10)


def build(config: ModelConfig, backend: str = "reference", **sampling: object) -> Vocoder:
    config = dataclasses.replace(config, sampling=dataclasses.replace(config.sampling, **sampling))
    network = DiffWave(config)
    random_weights(network)
    weights = dict(network.state_dict())
    if config.refiner.dilations:
        refiner = Refiner(config)
        random_weights(refiner)
        weights |= {f"refiner.{name}": value for name, value in refiner.state_dict().items()}
    return Vocoder(Checkpoint(config, weights), "cpu", backend)


def guided(**more: object) -> Vocoder:
    few = {"consistency_iterations": 5, "step_iterations": 3, "warm_iterations": 5, "consistency_at": "warm"}
    config = dataclasses.replace(TINY, refiner=RefinerConfig(8, 8, [1, 2]))
    return build(config, **{**few, **SMALL_BLOCKS, "refinements": 1, "refinement_iterations": 2, **more})


@pytest.fixture(scope="module")
def speech() -> Tensor:
    wav, _ = soundfile.read(SPEECH, dtype="float32")
    return torch.from_numpy(wav)


@pytest.fixture(scope="module")
def mel(speech: Tensor) -> Tensor:
    return Vocoder.from_pretrained(device="cpu").mel(speech)  # 241 frames


def parts_of(mel: Tensor, seconds: float) -> list[Tensor]:
    return list(mel.split(max(1, round(seconds * FRAMES_A_SECOND)), dim=-1))


def streamed(vocoder: Vocoder, mel: Tensor, seconds: float, **choices: object) -> Tensor:
    return torch.cat(list(vocoder.stream(parts_of(mel, seconds), **choices)))


@pytest.mark.parametrize(("backend", "sizes"), [("auto", SECONDS), ("reference", (0.37,))])
def test_the_default_model_streams_what_it_synthesizes_bit_by_bit(mel: Tensor, backend: str, sizes: tuple) -> None:
    vocoder = Vocoder.from_pretrained(device="cpu", backend=backend)
    mel = mel[:, :150]
    whole = vocoder.synthesize(mel, steps=2)
    # Several blocks, or nothing would be shown.
    assert len(list(vocoder.stream([mel], steps=2))) > 1
    for seconds in sizes:
        assert torch.equal(streamed(vocoder, mel, seconds, steps=2), whole)


@pytest.mark.parametrize(("backend", "sizes"), [("auto", SECONDS), ("reference", (0.37,))])
def test_the_network_alone_streams_what_it_makes_in_one_piece(mel: Tensor, backend: str, sizes: tuple) -> None:
    vocoder = Vocoder.from_pretrained(device="cpu", backend=backend)
    whole = vocoder.synthesize(mel, steps=3, consistency=0)  # one block
    assert len(list(vocoder.stream([mel], steps=3, consistency=0))) > 1
    for seconds in sizes:
        pieces = streamed(vocoder, mel, seconds, steps=3, consistency=0)
        torch.testing.assert_close(pieces, whole, rtol=0, atol=1e-5 * float(whole.abs().max()))


def test_base_streams_what_it_makes_in_one_piece(mel: Tensor) -> None:
    vocoder = build(BASE, "auto")
    mel = mel[:, :100]
    whole = vocoder.synthesize(mel, steps=2)
    assert len(list(vocoder.stream([mel], steps=2))) > 1
    for seconds in (0.1, 10):
        pieces = streamed(vocoder, mel, seconds, steps=2)
        torch.testing.assert_close(pieces, whole, rtol=0, atol=1e-5 * float(whole.abs().max()))


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("backend", "tolerance"), [("auto", 3e-3), ("reference", 1e-5)])
def test_base_at_its_six_steps_and_every_size_of_parts(mel: Tensor, backend: str, tolerance: float) -> None:
    """In bfloat16, where a whole of this length does not keep the mel's projections, within its rounding."""
    vocoder = build(BASE, backend)
    long = torch.cat([mel, mel.flip(1), mel], dim=1)  # 11.6 s
    whole = vocoder.synthesize(long)
    for seconds in (0.1, 1, 10):
        pieces = streamed(vocoder, long, seconds)
        torch.testing.assert_close(pieces, whole, rtol=0, atol=tolerance * float(whole.abs().max()))


PRIORS = [DiffusionConfig(schedule="cosine", prior=prior) for prior in ("standard", "spectral", "energy")]
NETWORKS = [
    NetworkConfig(residual_channels=8, residual_layers=6, dilation_cycle=6),
    NetworkConfig(8, 6, 6, squeeze=8, squeeze_overlap=4, parameterization="velocity"),
    NetworkConfig(8, 6, 6, padding="reflect"),
]


@pytest.mark.parametrize("network", NETWORKS, ids=["squeeze 1", "squeeze 8", "mirrored ends"])
@pytest.mark.parametrize("diffusion", PRIORS, ids=lambda config: config.prior)
@pytest.mark.parametrize("sampler", ["ddpm", "renoise", "dpm++", "midpoint"])
def test_the_context_covers_the_receptive_field(network, diffusion, sampler, mel: Tensor) -> None:
    vocoder = build(ModelConfig(network=network, diffusion=diffusion), **SMALL_BLOCKS)
    whole = vocoder.synthesize(mel[:, :90], sampler=sampler, steps=3)
    pieces = list(vocoder.stream([mel[:, :90]], sampler=sampler, steps=3))
    assert len(pieces) > 1
    torch.testing.assert_close(torch.cat(pieces), whole, rtol=0, atol=2e-5 * float(whole.abs().max()))


def test_less_context_would_be_seen(mel: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffwave.synthesis.blockwise import Synthesis

    vocoder = build(ModelConfig(network=NETWORKS[0]), **SMALL_BLOCKS)
    whole = vocoder.synthesize(mel[:, :90], steps=3)
    monkeypatch.setattr(Synthesis, "context", property(lambda self: 0))
    pieces = torch.cat(list(vocoder.stream([mel[:, :90]], steps=3)))
    assert not torch.allclose(pieces, whole, rtol=0, atol=2e-5 * float(whole.abs().max()))


@pytest.mark.parametrize("at", ["end", "steps", "warm"])
@pytest.mark.parametrize("seconds", SECONDS)
def test_with_consistency_anywhere_a_stream_is_the_whole(at: str, seconds: float, mel: Tensor) -> None:
    vocoder = guided(consistency_at=at)
    assert torch.equal(streamed(vocoder, mel, seconds), vocoder.synthesize(mel))


def test_a_batch_in_blocks_equals_one_by_one(mel: Tensor) -> None:
    vocoder = guided()
    mels = [mel[:, :frames] for frames in (90, 7, 33, 241)]
    for alone, wav in zip(mels, vocoder.synthesize_batch(mels), strict=True):
        expected = vocoder.synthesize(alone)
        torch.testing.assert_close(wav, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_audio_leaves_after_the_first_block_and_its_context(mel: Tensor) -> None:
    vocoder = guided()
    ahead = vocoder._synthesis(AS_TRAINED).context
    arrived = 0

    def arriving() -> Iterator[Tensor]:
        nonlocal arrived
        for frame in mel.split(1, dim=-1):
            arrived += 1
            yield frame

    stream = vocoder.stream(arriving())
    assert len(next(stream)) == 8 * 256
    assert arrived == 8 + ahead + 1
    assert len(next(stream)) == 16 * 256
    assert arrived == 8 + 16 + ahead + 1


def test_what_comes_later_changes_nothing_that_has_left(mel: Tensor) -> None:
    vocoder = guided()
    other = torch.cat([mel[:, :60], mel[:, :100].flip(1)], dim=1)
    one, two = vocoder.synthesize(mel), vocoder.synthesize(other)
    assert torch.equal(one[: 24 * 256], two[: 24 * 256])
    assert not torch.equal(one[: 90 * 256], two[: 90 * 256])


def test_blocks_go_on_from_the_waveform_before_them(mel: Tensor) -> None:
    """Seams of blocks are not far from the mel; those of blocks on their own are."""
    vocoder = Vocoder.from_pretrained(device="cpu")
    wav = vocoder.synthesize(mel)
    seams = [32, 96]
    near = [frame for seam in seams for frame in (seam - 1, seam, seam + 1)]
    error = (vocoder.mel(wav) - mel).abs().mean(dim=0)
    alone = [vocoder.synthesize(part) for part in (mel[:, :32], mel[:, 32:96], mel[:, 96:])]
    cut = (vocoder.mel(torch.cat(alone)) - mel).abs().mean(dim=0)
    assert float(error[near].mean()) < 3 * float(error.mean())
    assert float(cut[near].mean()) > 3 * float(error[near].mean())


@pytest.mark.parametrize("count", [1, 700, 4096, 60 * 256])
def test_what_is_held_stays_and_the_rest_is_pushed(count: int, mel: Tensor) -> None:
    vocoder = guided()
    target, wav = mel[None, :, :60], 0.1 * torch.randn(1, 60 * 256, generator=torch.Generator().manual_seed(0))
    consistency, settings = MelConsistency(vocoder.front_end), vocoder.config.sampling
    hold = torch.ones(count)
    with torch.inference_mode():
        pushed = consistency(wav, target, 4, hold)
        together = push_together(wav, [(consistency, target), (consistency, target)], 4, hold=hold)
        refined = refine(vocoder.refiner, settings, wav, target, hold)
    for result in (pushed, together, refined):
        assert torch.equal(result[:, :count], wav[:, :count])
        assert not torch.equal(result[:, count:], wav[:, count:]) or count == wav.shape[1]


def test_holding_less_lets_more_go(mel: Tensor) -> None:
    """Every sample moves in proportion to what is not held of it."""
    consistency = MelConsistency(guided().front_end)
    target, wav = mel[None, :, :20], 0.1 * torch.randn(1, 20 * 256, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        free = consistency(wav, target, 1) - wav
        hold = torch.linspace(1, 0, 3000)
        moved = consistency(wav, target, 1, hold) - wav
    torch.testing.assert_close(moved[:, :3000], free[:, :3000] * (1 - hold), rtol=0, atol=1e-6)
    torch.testing.assert_close(moved[:, 3000:], free[:, 3000:], rtol=0, atol=1e-6)


def test_parts_of_no_frames_and_single_frames_are_parts(mel: Tensor) -> None:
    vocoder = guided()
    parts = [mel[:, :0], mel[:, :1], mel[:, 1:1], mel[:, 1:40], mel[:, 40:40]]
    assert torch.equal(torch.cat(list(vocoder.stream(iter(parts)))), vocoder.synthesize(mel[:, :40]))


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([], "got no frames"),
        ([torch.zeros(80, 0)], "got no frames"),
        ([torch.zeros(1, 80, 4)], r"parts of a mel \[80 bands, frames\]; got shape \[1, 80, 4\]"),
        ([[1.0, 2.0]], "got list"),
        (torch.zeros(80, 4), r"such as \[mel\]; got one tensor"),
        ([torch.zeros(4, 80) - 5], "transposed"),
        ([torch.full((80, 4), 50.0)], "values in"),
        ([torch.full((80, 4), float("nan"))], "NaN"),
    ],
)
def test_what_is_no_mel_is_refused(parts: list, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        list(guided().stream(parts))


def test_choices_are_refused_before_anything_is_asked_for() -> None:
    with pytest.raises(ValueError, match="steps"):
        guided().stream(iter(()), steps=0)


def test_a_stream_that_looks_strange_warns_once(mel: Tensor) -> None:
    vocoder = guided()
    with pytest.warns(MelWarning, match="log10") as caught:
        list(vocoder.stream((mel / 2.302585).split(20, dim=-1)))
    assert len(caught) == 1


def test_a_block_that_does_not_fit_is_one_line(mel: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffwave.synthesis.blockwise import Synthesis

    def hungry(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Synthesis, "speak", hungry)
    with pytest.raises(MemoryError, match="a block to fit into the memory of cpu"):
        list(guided().stream([mel]))


def test_memory_that_the_caller_lacks_is_not_ours(mel: Tensor) -> None:
    def hungry() -> Iterator[Tensor]:
        yield mel
        raise MemoryError("elsewhere")

    with pytest.raises(MemoryError, match="elsewhere"):
        list(guided().stream(hungry()))


def test_a_stacked_batch_is_one_by_one_also_after_many_iterations(mel: Tensor) -> None:
    vocoder = Vocoder.from_pretrained(device="cpu")
    stacked = torch.stack([mel[:, :60], mel[:, 100:160]])
    for wav, alone in zip(vocoder.synthesize(stacked, steps=1), stacked, strict=True):
        assert float((wav - vocoder.synthesize(alone, steps=1)).abs().max()) < 1e-5


@pytest.mark.parametrize("sizes", [{"block_frames": 0}, {"first_block_frames": 300}, {"context_frames": -1}])
def test_impossible_blocks_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(sizes))):
        SamplingConfig(**sizes)
