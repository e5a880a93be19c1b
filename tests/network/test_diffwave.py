from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from diffwave.config import BASE, LARGE, DiffusionConfig, MelConfig, ModelConfig, NetworkConfig
from diffwave.network.diffwave import Condition, DiffusionEmbedding, DiffWave
from diffwave.network.upsampling import MelUpsampler, upsampling_factors
from tiny import random_weights


def tiny(hop: int = 256, n_fft: int | None = None, mels: int = 4, steps: int = 50, **network: int) -> DiffWave:
    size = n_fft or 4 * hop
    mel = MelConfig(n_fft=size, win_length=size, hop_length=hop, n_mels=mels)
    settings = {"residual_channels": 8, "residual_layers": 3, "dilation_cycle": 3, **network}
    model = DiffWave(ModelConfig(mel, NetworkConfig(**settings), DiffusionConfig(steps=steps)))
    random_weights(model)
    return model.eval()


def inputs(network: DiffWave, frames: int = 6, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    mel = torch.randn(batch, network.n_mels, frames, generator=generator)
    noisy = torch.randn(batch, frames * network.hop_length, generator=generator)
    return noisy, torch.linspace(0, 42.9, batch), mel


def paper_parameters(channels: int, layers: int = 30, mels: int = 80) -> int:
    """Count by hand from figure 2 and appendix C."""
    c, embedding = channels, 512
    residual = (
        (3 * c + 1) * 2 * c  # dilated convolution
        + (embedding + 1) * c  # diffusion step
        + (mels + 1) * 2 * c  # conditioner
        + (c + 1) * 2 * c  # residual and skip
    )
    step = (128 + 1) * embedding + (embedding + 1) * embedding
    upsampler = 2 * (3 * 32 + 1)
    return (1 + 1) * c + step + upsampler + layers * residual + (c + 1) * c + c + 1


@pytest.mark.parametrize(("config", "channels", "expected"), [(BASE, 64, 2_619_971), (LARGE, 128, 6_885_315)])
def test_parameter_counts_of_the_papers_models(config: ModelConfig, channels: int, expected: int) -> None:
    with torch.device("meta"):
        network = DiffWave(config)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == expected == paper_parameters(channels)


def test_names_and_shapes_are_those_of_lmnt() -> None:
    expected: dict[str, tuple[int, ...]] = {
        "input_projection.weight": (64, 1, 1),
        "input_projection.bias": (64,),
        "diffusion_embedding.projection1.weight": (512, 128),
        "diffusion_embedding.projection1.bias": (512,),
        "diffusion_embedding.projection2.weight": (512, 512),
        "diffusion_embedding.projection2.bias": (512,),
        "spectrogram_upsampler.conv1.weight": (1, 1, 3, 32),
        "spectrogram_upsampler.conv1.bias": (1,),
        "spectrogram_upsampler.conv2.weight": (1, 1, 3, 32),
        "spectrogram_upsampler.conv2.bias": (1,),
        "skip_projection.weight": (64, 64, 1),
        "skip_projection.bias": (64,),
        "output_projection.weight": (1, 64, 1),
        "output_projection.bias": (1,),
    }
    for i in range(30):
        layer = f"residual_layers.{i}."
        expected[layer + "dilated_conv.weight"] = (128, 64, 3)
        expected[layer + "dilated_conv.bias"] = (128,)
        expected[layer + "diffusion_projection.weight"] = (64, 512)
        expected[layer + "diffusion_projection.bias"] = (64,)
        expected[layer + "conditioner_projection.weight"] = (128, 80, 1)
        expected[layer + "conditioner_projection.bias"] = (128,)
        expected[layer + "output_projection.weight"] = (128, 64, 1)
        expected[layer + "output_projection.bias"] = (128,)
    with torch.device("meta"):
        network = DiffWave(BASE)
    assert {name: tuple(value.shape) for name, value in network.state_dict().items()} == expected


def by_lmnt(weights: dict[str, Tensor], noisy: Tensor, step: Tensor, mel: Tensor, layers: int, cycle: int) -> Tensor:
    """lmnt-com/diffwave's forward pass, written with functions from its model.py (hop 256, whole steps)."""
    functional = torch.nn.functional

    def conv(name: str, x: Tensor, dilation: int = 1) -> Tensor:
        weight = weights[name + ".weight"]
        padding = dilation * (weight.shape[-1] // 2)
        return functional.conv1d(x, weight, weights[name + ".bias"], padding=padding, dilation=dilation)

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ weights[name + ".weight"].T + weights[name + ".bias"]

    angle = step[:, None] * 10.0 ** (torch.arange(64) * 4.0 / 63.0)
    embedding = torch.cat([torch.sin(angle), torch.cos(angle)], dim=1)
    for number in (1, 2):
        embedding = linear(f"diffusion_embedding.projection{number}", embedding)
        embedding = embedding * torch.sigmoid(embedding)
    up = mel[:, None]
    for number in (1, 2):
        name = f"spectrogram_upsampler.conv{number}"
        weight, bias = weights[name + ".weight"], weights[name + ".bias"]
        up = functional.conv_transpose2d(up, weight, bias, stride=(1, 16), padding=(1, 8))
        up = torch.where(up > 0, up, 0.4 * up)
    up = up[:, 0]
    x = torch.relu(conv("input_projection", noisy[:, None]))
    skips = []
    for i in range(layers):
        layer = f"residual_layers.{i}."
        y = x + linear(layer + "diffusion_projection", embedding)[..., None]
        y = conv(layer + "dilated_conv", y, 2 ** (i % cycle)) + conv(layer + "conditioner_projection", up)
        gate, signal = torch.chunk(y, 2, dim=1)
        y = conv(layer + "output_projection", torch.sigmoid(gate) * torch.tanh(signal))
        residual, skip = torch.chunk(y, 2, dim=1)
        x = (x + residual) / math.sqrt(2.0)
        skips.append(skip)
    x = torch.stack(skips).sum(dim=0) / math.sqrt(layers)
    return conv("output_projection", torch.relu(conv("skip_projection", x)))[:, 0]


def test_the_forward_pass_is_that_of_lmnt() -> None:
    network = tiny(residual_layers=5)
    # Without biases that push it to one side, the upsampler has values on both sides of its kinks.
    torch.nn.init.zeros_(network.spectrogram_upsampler.conv1.bias)
    torch.nn.init.zeros_(network.spectrogram_upsampler.conv2.bias)
    noisy, _, mel = inputs(network)
    step = torch.tensor([0.0, 37.0])
    expected = by_lmnt(network.state_dict(), noisy, step, mel, 5, 3)
    with torch.no_grad():
        output = network(noisy, step, network.condition(mel))
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)
    assert float(output.std()) > 0.05


@pytest.mark.parametrize("squeeze", [1, 8])
def test_an_untrained_network_predicts_zero_for_every_input(squeeze: int) -> None:
    network = DiffWave(dataclasses.replace(BASE, network=NetworkConfig(8, 3, squeeze=squeeze)))
    generator = torch.Generator().manual_seed(0)
    mel, noisy = torch.randn(1, 80, 3, generator=generator), torch.randn(1, 768, generator=generator)
    output = network(noisy, torch.tensor([5.0]), network.condition(mel))
    # Only the bias of the last layer is left.
    torch.testing.assert_close(output, network.output_projection.bias.expand(1, 768))
    assert not bool(network.output_projection.weight.any())


@pytest.mark.parametrize("factor", [*range(1, 65), 75, 100, 200, 256, 257, 300, 320, 441, 512])
def test_the_upsampler_makes_exactly_factor_positions_of_a_frame(factor: int) -> None:
    first, second = upsampling_factors(factor)
    assert first * second == factor
    assert first <= second
    for frames in (1, 2, 7):
        assert MelUpsampler(factor)(torch.zeros(2, 4, frames)).shape == (2, 4, frames * factor)


@pytest.mark.parametrize("squeeze", [1, 2, 4, 5, 10, 20])
@pytest.mark.parametrize("hop", [200, 256, 300, 320])
@pytest.mark.parametrize("overlap", [1, 3])
def test_the_network_keeps_the_length_at_every_hop(hop: int, squeeze: int, overlap: int) -> None:
    if hop % squeeze:
        with pytest.raises(ValueError, match="multiple"):
            tiny(hop, squeeze=squeeze, squeeze_overlap=overlap)
        return
    network = tiny(hop, squeeze=squeeze, squeeze_overlap=overlap)
    noisy, step, mel = inputs(network, frames=3)
    condition = network.condition(mel)
    assert condition.mel.shape == (2, 4, 3 * hop // squeeze)
    assert network(noisy, step, condition).shape == (2, 3 * hop)


def test_the_upsampler_stays_in_place() -> None:
    # With weights of one over the middle band it spreads a frame symmetrically around its own samples.
    for factor in (16, 25, 32, 200, 256):
        upsampler = MelUpsampler(factor)
        with torch.no_grad():
            for convolution in (upsampler.conv1, upsampler.conv2):
                convolution.weight.zero_()
                convolution.weight[:, :, 1] = 1
                convolution.bias.zero_()
            mel = torch.zeros(1, 1, 9)
            mel[..., 4] = 1
            response = upsampler(mel)[0, 0]
        centre = float((response * torch.arange(len(response))).sum() / response.sum())
        # An odd stride cannot be centred on whole samples: half a sample for each of the two.
        assert abs(centre - (4.5 * factor - 0.5)) <= 0.5 + 0.5 * factor**0.5 * (factor % 2)


def reach(network: DiffWave) -> tuple[int, int]:
    """Samples before and after the middle that change the output there, by gradient."""
    network = network.double()
    # Positive throughout, so that no rectifier hides a path; small, so that no sigmoid saturates.
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_().mul_(0.2)
    frames = 4 * network.config.receptive_field // network.hop_length + 5
    samples = frames * network.hop_length
    noisy = torch.full((1, samples), 0.1, dtype=torch.float64, requires_grad=True)
    mel = torch.zeros(1, network.n_mels, frames, dtype=torch.float64)
    squeeze, before, after = network.config.squeeze, 0, 0
    for place in range(samples // 2 // squeeze * squeeze, samples // 2 // squeeze * squeeze + squeeze):
        output = network(noisy, torch.tensor([3.0], dtype=torch.float64), network.condition(mel))
        (gradient,) = torch.autograd.grad(output[0, place], noisy)
        touched = gradient[0].nonzero()[:, 0]
        before, after = max(before, place - int(touched[0])), max(after, int(touched[-1]) - place)
    return before, after


@pytest.mark.parametrize(
    ("layers", "cycle", "squeeze", "overlap"),
    [(3, 3, 1, 1), (5, 2, 1, 1), (4, 4, 2, 1), (3, 2, 4, 2), (3, 3, 8, 4)],
)
def test_the_receptive_field_by_gradient(layers: int, cycle: int, squeeze: int, overlap: int) -> None:
    network = tiny(16, residual_layers=layers, dilation_cycle=cycle, squeeze=squeeze, squeeze_overlap=overlap)
    before, after = reach(network)
    dilations = sum(2 ** (i % cycle) for i in range(layers))
    assert before == after == network.config.receptive_field == (dilations + overlap) * squeeze - 1


def test_the_paper_s_receptive_field() -> None:
    with torch.device("meta"):
        network = DiffWave(BASE)
    # 3 cycles of 1 + 2 + ... + 512.
    assert network.config.receptive_field == 3 * 1023


@pytest.mark.parametrize("squeeze", [1, 8])
def test_cached_projections_change_nothing(squeeze: int) -> None:
    network = tiny(squeeze=squeeze, squeeze_overlap=2 if squeeze > 1 else 1)
    noisy, step, mel = inputs(network)
    plain = network.condition(mel)
    cached = network.prepare(plain, calls=2)
    torch.testing.assert_close(network(noisy, step, cached), network(noisy, step, plain), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("squeeze", "overlap"), [(1, 1), (8, 1), (8, 4), (2, 3)])
def test_a_batch_of_different_lengths_equals_one_by_one(squeeze: int, overlap: int) -> None:
    network = tiny(squeeze=squeeze, squeeze_overlap=overlap, residual_layers=6, dilation_cycle=4)
    generator = torch.Generator().manual_seed(2)
    frames = [5, 1, 9]
    mels = [torch.randn(4, count, generator=generator) for count in frames]
    noisy = torch.randn(3, 9 * 256, generator=generator)
    step = torch.tensor([0.0, 12.5, 49.0])
    with torch.no_grad():
        together = network(noisy, step, Condition.joined([network.condition(mel.unsqueeze(0)) for mel in mels]))
        for row, (mel, count) in enumerate(zip(mels, frames, strict=True)):
            samples = count * 256
            alone = network(noisy[row : row + 1, :samples], step[row : row + 1], network.condition(mel.unsqueeze(0)))
            torch.testing.assert_close(together[row : row + 1, :samples], alone, rtol=1e-5, atol=1e-5)


def test_steps_of_a_batch_are_its_own() -> None:
    network = tiny()
    noisy, step, mel = inputs(network)
    together = network(noisy, step, network.condition(mel))
    for row in range(2):
        part = slice(row, row + 1)
        alone = network(noisy[part], step[part], network.condition(mel[part]))
        torch.testing.assert_close(together[part], alone, rtol=1e-5, atol=1e-6)


def test_the_embedding_of_whole_steps_is_equation_8() -> None:
    table = DiffusionEmbedding(200).table.double()
    for step in (0, 1, 7, 199):
        for i in (0, 1, 31, 63):
            angle = step * 10 ** (4 * i / 63)
            # float32 angles up to 2e6 are exact to an eighth.
            close = 1e-6 * max(angle, 1)
            assert float(table[step, i]) == pytest.approx(math.sin(angle), abs=close)
            assert float(table[step, 64 + i]) == pytest.approx(math.cos(angle), abs=close)


def test_the_embedding_is_interpolated_between_whole_steps() -> None:
    embedding = DiffusionEmbedding(50)
    # The two layers made transparent: what comes out is the activation of the table, twice.
    with torch.no_grad():
        embedding.projection1.weight.copy_(torch.eye(512, 128))
        embedding.projection2.weight.copy_(torch.eye(512))
        embedding.projection1.bias.zero_()
        embedding.projection2.bias.zero_()
    silu = torch.nn.functional.silu
    rows = 0.75 * embedding.table[10] + 0.25 * embedding.table[11]
    out = embedding(torch.tensor([10.25], dtype=torch.float64))
    torch.testing.assert_close(out[0, :128], silu(silu(rows)), rtol=1e-5, atol=1e-6)
    last = embedding(torch.tensor([49.0]))
    torch.testing.assert_close(last[0, :128], silu(silu(embedding.table[49])), rtol=1e-5, atol=1e-6)
    # Whole numbers mean the same whatever their type.
    assert torch.equal(embedding(torch.tensor([7])), embedding(torch.tensor([7.0], dtype=torch.float64)))


def test_the_mel_is_normalised_before_the_upsampler() -> None:
    plain = tiny()
    config = dataclasses.replace(plain.config, condition_mean=-5.0, condition_std=2.0)
    shifted = DiffWave(
        ModelConfig(MelConfig(n_fft=1024, win_length=1024, hop_length=256, n_mels=4), config, DiffusionConfig())
    )
    shifted.load_state_dict(plain.state_dict())
    noisy, step, mel = inputs(plain)
    ours, theirs = shifted(noisy, step, shifted.condition(2 * mel - 5)), plain(noisy, step, plain.condition(mel))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_lengths_that_do_not_fit_are_refused_with_both() -> None:
    network = tiny()
    noisy, step, mel = inputs(network, frames=6)
    with pytest.raises(ValueError, match="expected 1536 samples, 6 mel frames of 256; got 1280"):
        network(noisy[:, :1280], step, network.condition(mel))


def test_every_parameter_receives_a_gradient() -> None:
    network = tiny(squeeze=8, squeeze_overlap=4)
    noisy, step, mel = inputs(network)
    network(noisy, step, network.condition(mel)).square().mean().backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert silent == []
