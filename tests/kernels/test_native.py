"""The C kernel against the definition in float64; the yardstick is the error of autocast."""

from __future__ import annotations

import copy
import dataclasses
import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from diffwave.kernels import native_library
from diffwave.kernels.layers import Backend, ResidualLayer
from diffwave.kernels.native import Native, unavailable
from diffwave.kernels.reference import Reference

_REASON = unavailable(torch.device("cpu"), 32)
pytestmark = pytest.mark.skipif(_REASON is not None, reason=f"native kernel: {_REASON}")

Inputs = tuple[Tensor, Tensor, Tensor]  # x [B, C, P], shifts [B, L, C], mel [B, M, P]


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """More than one, or nothing would be shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def make_layers(channels: int, dilations: tuple[int, ...], bands: int = 80) -> list[ResidualLayer]:
    generator = torch.Generator().manual_seed(channels)

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        return torch.randn(shape, generator=generator) * scale

    return [
        ResidualLayer(
            normal(2 * channels, channels, 3, scale=(2 / (3 * channels)) ** 0.5),
            normal(2 * channels, scale=0.1),
            normal(2 * channels, bands, 1, scale=bands**-0.5),
            normal(2 * channels, scale=0.1),
            normal(2 * channels, channels, 1, scale=(2 / channels) ** 0.5),
            normal(2 * channels, scale=0.1),
            dilation,
        )
        for dilation in dilations
    ]


def make_inputs(examples: int, channels: int, layers: int, positions: int, bands: int = 80) -> Inputs:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(examples, channels, positions, generator=generator).relu()
    shifts = torch.randn(examples, layers, channels, generator=generator) * 0.3
    return x, shifts, torch.randn(examples, bands, positions, generator=generator)


def make_mask(lengths: list[int], positions: int) -> Tensor:
    return (torch.arange(positions) < torch.tensor(lengths)[:, None]).unsqueeze(1).float()


def in_float64(layers: list[ResidualLayer]) -> list[ResidualLayer]:
    names = [field.name for field in dataclasses.fields(ResidualLayer) if field.name not in ("dilation", "padding")]
    return [
        dataclasses.replace(layer, **{name: getattr(layer, name).detach().double() for name in names})
        for layer in layers
    ]


@torch.inference_mode()
def run(
    backend: Backend, layers: list[ResidualLayer], inputs: Inputs, mask: Tensor | None = None, calls: int = 1
) -> Tensor:
    x, shifts, mel = inputs
    return backend.stack(layers, mel, mask, calls)(x, shifts)


def exact(layers: list[ResidualLayer], inputs: Inputs, mask: Tensor | None = None) -> Tensor:
    x, shifts, mel = (value.double() for value in inputs)
    return run(Reference(), in_float64(layers), (x, shifts, mel), None if mask is None else mask.double())


def by_autocast(layers: list[ResidualLayer], inputs: Inputs, mask: Tensor | None = None) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return run(Reference(), layers, inputs, mask)


def error(value: Tensor, truth: Tensor) -> float:
    return float((value.double() - truth).norm() / truth.norm())


@pytest.mark.parametrize("calls", [1, 6])
@pytest.mark.parametrize(
    ("channels", "dilations", "positions", "examples"),
    [
        (32, (1, 2, 4), 1, 1),
        (32, (1, 2, 4), 131, 2),
        (64, (1, 2, 4, 8, 16, 32, 64, 128, 256, 512), 1537, 1),
        (64, (512,), 100, 3),
        (96, (1, 2, 4, 8, 16, 32) * 2, 701, 1),
        (128, (1, 3, 9), 257, 2),
        (256, (1, 2), 65, 1),
    ],
)
def test_the_error_is_below_that_of_autocast(
    channels: int, dilations: tuple[int, ...], positions: int, examples: int, calls: int
) -> None:
    layers, inputs = make_layers(channels, dilations), make_inputs(examples, channels, len(dilations), positions)
    truth = exact(layers, inputs)
    found = error(run(Native(), layers, inputs, calls=calls), truth)
    assert 1e-5 < found < error(by_autocast(layers, inputs), truth)


@pytest.mark.parametrize("bands", [1, 79, 100, 600])
def test_any_number_of_mel_bands_will_do(bands: int) -> None:
    layers, inputs = make_layers(32, (1, 2), bands), make_inputs(2, 32, 2, 50, bands)
    assert error(run(Native(), layers, inputs), exact(layers, inputs)) < 0.01


@pytest.mark.parametrize("calls", [1, 6])
def test_an_example_of_a_batch_has_the_bits_that_it_has_alone(calls: int) -> None:
    layers, (x, shifts, mel) = make_layers(64, (1, 4, 16)), make_inputs(3, 64, 3, 300)
    lengths = [300, 1, 217]
    together = run(Native(), layers, (x, shifts, mel), make_mask(lengths, 300), calls)
    for row, length in enumerate(lengths):
        part = slice(row, row + 1)
        alone = run(Native(), layers, (x[part, :, :length], shifts[part], mel[part, :, :length]), None, calls)
        assert torch.equal(together[part, :, :length], alone)
    assert together.isfinite().all()


def test_threads_change_no_bit() -> None:
    layers, inputs = make_layers(64, (1, 4, 16)), make_inputs(2, 64, 3, 1000)
    outputs = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        outputs.append(run(Native(), layers, inputs))
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])


def test_a_stack_may_be_called_again_and_forgets_the_call_before() -> None:
    layers, (x, shifts, mel) = make_layers(32, (1, 2, 4)), make_inputs(1, 32, 3, 90)
    with torch.inference_mode():
        stack = Native().stack(layers, mel, None, calls=3)
        first = stack(x, shifts)
        kept = first.clone()
        stack(-x, shifts * 2)
        assert torch.equal(stack(x, shifts), kept)
        assert torch.equal(first, kept)


def test_weights_that_change_are_packed_again() -> None:
    backend, layers, inputs = Native(), make_layers(32, (1, 2)), make_inputs(1, 32, 2, 60)
    before = run(backend, layers, inputs, calls=2)
    assert torch.equal(run(backend, layers, inputs, calls=2), before)
    with torch.no_grad():
        layers[1].output_weight.mul_(2)
    changed = run(backend, layers, inputs, calls=2)
    assert torch.equal(changed, run(Native(), layers, inputs, calls=2))
    assert not torch.equal(changed, before)
    others = [dataclasses.replace(layers[0], output_bias=layers[0].output_bias + 1), layers[1]]
    assert torch.equal(run(backend, others, inputs, calls=2), run(Native(), others, inputs, calls=2))


def test_projections_that_are_too_large_are_made_on_the_way() -> None:
    layers, inputs = make_layers(32, (1, 2, 4)), make_inputs(1, 32, 3, 90)
    kept = run(Native(), layers, inputs, calls=6)
    assert torch.equal(run(Native(cache_bytes=0), layers, inputs, calls=6), run(Native(), layers, inputs, calls=1))
    assert error(kept, run(Native(cache_bytes=0), layers, inputs, calls=6).double()) < 0.01


def test_saturated_gates_are_what_they_should_be() -> None:
    layers, (x, shifts, mel) = make_layers(32, (1,)), make_inputs(1, 32, 1, 60)
    # Enormous, but the same for every position, so that rounding cannot turn a sign.
    layers[0].condition_weight.zero_()
    layers[0].dilated_weight.zero_()
    for gate, signal in ((300.0, 300.0), (-300.0, 300.0), (300.0, -300.0), (0.0, -300.0), (1e30, 1e30), (-1e30, 1e30)):
        layers[0].condition_bias[:32], layers[0].condition_bias[32:] = gate, signal
        inputs = (x, shifts, mel)
        torch.testing.assert_close(run(Native(), layers, inputs).double(), exact(layers, inputs), rtol=0.02, atol=0.02)


def test_a_number_that_is_none_is_not_hidden() -> None:
    layers, (x, shifts, mel) = make_layers(32, (1, 2)), make_inputs(1, 32, 2, 60)
    x[0, 3, 20] = torch.nan
    output = run(Native(), layers, (x, shifts, mel))
    reached = output.isnan().any(dim=1)[0]
    # Winograd's form spreads it to a twin's other position: at most one dilation further in each layer.
    assert reached[17:24].all()
    assert not reached[:14].any()
    assert not reached[27:].any()


def gradients(backend: Backend, layers: list[ResidualLayer], inputs: Inputs, mask: Tensor | None) -> dict[str, Tensor]:
    """Gradients of everything, and the output, of a random projection of the output."""
    generator = torch.Generator().manual_seed(2)
    leaves = {}
    for index, layer in enumerate(layers):
        names = [field.name for field in dataclasses.fields(layer) if field.name not in ("dilation", "padding")]
        leaves |= {f"{index} {name}": getattr(layer, name) for name in names}
    leaves |= dict(zip(("x", "shifts", "mel"), inputs, strict=True))
    for value in leaves.values():
        value.requires_grad_(True)
        value.grad = None
    x, shifts, mel = inputs
    output = backend.stack(layers, mel, mask, 1)(x, shifts)
    inside = 1 if mask is None else mask
    weight = torch.randn(output.shape, generator=generator)
    (output * weight.to(output.dtype) * inside).sum().backward()
    found = {name: value.grad.double() for name, value in leaves.items() if value.grad is not None}
    return found | {"output": (output * inside).detach().double()}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("channels", "dilations", "positions", "bands"),
    [(32, (1, 2, 4), 131, 80), (64, (1, 8, 64), 300, 79), (96, (1, 2, 4, 8), 701, 80), (128, (2, 1), 97, 100)],
)
def test_gradients_are_as_good_as_those_of_autocast(
    channels: int, dilations: tuple[int, ...], positions: int, bands: int, masked: bool
) -> None:
    layers = make_layers(channels, dilations, bands)
    x, shifts, mel = make_inputs(2, channels, len(dilations), positions, bands)
    mask = make_mask([positions, positions - 57], positions) if masked else None
    wide = tuple(value.double() for value in (x, shifts, mel))
    truth = gradients(Reference(), in_float64(layers), wide, None if mask is None else mask.double())  # type: ignore[arg-type]
    with torch.autocast("cpu", torch.bfloat16):
        plain = gradients(Reference(), layers, (x, shifts, mel), mask)
    ours = gradients(Native(), layers, (x, shifts, mel), mask)
    assert ours.keys() == truth.keys()
    for name, value in truth.items():
        if name.endswith("output_weight") and name.startswith(f"{len(dilations) - 1} "):
            assert not ours[name][:channels].any()  # the last layer's residual goes nowhere
        limit = 1.5 * error(plain[name], value) + 2e-3
        assert error(ours[name], value) < limit, name


def test_passes_may_be_nested_and_buffers_are_used_again() -> None:
    backend, layers = Native(), make_layers(32, (1, 2))
    one, other = make_inputs(1, 32, 2, 60), make_inputs(2, 32, 2, 60)
    alone = [gradients(Native(), layers, inputs, None)["x"] for inputs in (one, other)]
    outputs = []
    for x, shifts, mel in (one, other):
        x.grad = None
        outputs.append(backend.stack(layers, mel, None, 1)(x, shifts))
    generator = [torch.Generator().manual_seed(2) for _ in outputs]
    for output, source in zip(outputs, generator, strict=True):
        (output * torch.randn(output.shape, generator=source)).sum().backward()
    for (x, _, _), expected in zip((one, other), alone, strict=True):
        assert x.grad is not None
        assert torch.equal(x.grad.double(), expected)
    # And what lay in a buffer before does not show.
    assert torch.equal(gradients(backend, layers, other, None)["x"], alone[1])


def test_a_second_backward_pass_is_refused() -> None:
    layers, (x, shifts, mel) = make_layers(32, (1,)), make_inputs(1, 32, 1, 30)
    x.requires_grad_(True)
    total = Native().stack(layers, mel, None, 1)(x, shifts).sum()
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="keeps nothing for a second time"):
        total.backward()


def test_a_copied_backend_shares_no_buffers() -> None:
    backend, layers = Native(), make_layers(32, (1,))
    gradients(backend, layers, make_inputs(1, 32, 1, 30), None)
    assert backend.pool.free
    assert copy.deepcopy(backend).pool.free == {}


@pytest.mark.parametrize("training", [False, True])
def test_shapes_that_do_not_fit_are_refused(training: bool) -> None:
    layers, (x, shifts, mel) = make_layers(32, (1, 2)), make_inputs(2, 32, 2, 30)
    with torch.set_grad_enabled(training):
        stack = Native().stack(layers, mel, None, 1)
        for wrong in (x[:1], x[:, :16], x[..., :-1]):
            with pytest.raises(ValueError, match=r"\(2, 32, 30\), \(2, 2, 32\)"):
                stack(wrong, shifts)
        for other in (shifts[:1], shifts[:, :1]):
            with pytest.raises(ValueError, match="stream and shifts"):
                stack(x, other)
        with pytest.raises(ValueError, match="for a mel of 79 bands"):
            Native().stack(layers, mel[:, :79], None, 1)
        wide = dataclasses.replace(layers[1], dilated_weight=torch.zeros(64, 32, 5))
        with pytest.raises(ValueError, match="expected weights of shapes"):
            Native().stack([layers[0], wide], mel, None, 1)


def test_weights_without_a_counter_are_packed_every_time() -> None:
    backend, inputs = Native(), make_inputs(1, 32, 2, 30)
    with torch.inference_mode():
        layers = make_layers(32, (1, 2))
        before = run(backend, layers, inputs, calls=2)
        layers[0].output_weight.mul_(2)
        assert not torch.equal(run(backend, layers, inputs, calls=2), before)


def test_a_thread_with_little_stack_can_train() -> None:
    layers, inputs = make_layers(64, (1, 2)), make_inputs(1, 64, 2, 200)
    expected, found = gradients(Native(), layers, inputs, None), {}
    size = threading.stack_size(1 << 18)
    try:
        thread = threading.Thread(target=lambda: found.update(gradients(Native(), layers, inputs, None)))
        thread.start()
        thread.join()
    finally:
        threading.stack_size(size)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_a_library_of_other_sources_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    native_library._library.cache_clear()
    monkeypatch.setattr(native_library, "_VERSION", -1)
    try:
        assert "was not built" in str(unavailable(torch.device("cpu"), 64))
    finally:
        native_library._library.cache_clear()


def test_where_it_cannot_run_it_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "got cuda" in str(unavailable(torch.device("cuda"), 64))
    assert "multiple of 32 up to 256; got 48" in str(unavailable(torch.device("cpu"), 48))
    assert "got 288" in str(unavailable(torch.device("cpu"), 288))
    monkeypatch.setattr(native_library, "_library", lambda: None)
    assert "C compiler" in str(unavailable(torch.device("cpu"), 64))
    monkeypatch.setattr(native_library, "_processor_flags", lambda: frozenset({"avx512f"}))
    assert "has no avx512bw" in str(unavailable(torch.device("cpu"), 64))
