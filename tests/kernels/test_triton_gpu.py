"""The fused kernels on a GPU: exactness, graphs, devices and training; skipped where there is none."""

from __future__ import annotations

import pytest
import torch

from diffwave.config import ModelConfig, NetworkConfig
from diffwave.kernels.reference import Reference
from diffwave.kernels.triton_backend import Triton, unavailable
from diffwave.network.diffwave import DiffWave
from triton_cases import Shape, output, random_case, relative_error
from triton_errors import backward_row, forward_row

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]
BUDGET = 2.0  # times the error of eager bfloat16
SHAPES = [
    Shape(channels, 10, 10, batch=batch, positions=positions)
    for channels in (16, 32, 64, 96, 128)
    for batch, positions in ((1, 1), (1, 4097), (32, 1025))
]


@pytest.fixture(autouse=True)
def can_run() -> None:
    reason = unavailable(torch.device("cuda"), 128)
    if reason is not None:
        pytest.skip(reason)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_stack_is_within_the_error_budget(shape: Shape) -> None:
    row = forward_row(shape, "cuda")
    assert row["anew"] <= BUDGET * row["eager"]
    assert row["kept"] <= BUDGET * row["eager"]
    assert row["eager"] < 0.02


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradients_are_within_the_error_budget(shape: Shape) -> None:
    row = backward_row(shape, "cuda")
    assert row["fused"] <= BUDGET * row["eager"], row["worst"]


@pytest.mark.parametrize("channels", [64, 128])
@pytest.mark.parametrize("calls", [1, 2])
def test_a_cuda_graph_holds_a_call(channels: int, calls: int) -> None:
    case = random_case(Shape(channels, 4, 4, positions=1001)).to(torch.bfloat16, "cuda")
    with torch.no_grad():
        stack = Triton().stack(case.layers, case.mel, None, calls)
        stack(case.x, case.shifts)  # compiles
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            held = stack(case.x, case.shifts)
        case.x.copy_(torch.randn_like(case.x))
        graph.replay()
        torch.cuda.synchronize()
        assert torch.equal(held, stack(case.x, case.shifts))


def test_two_runs_are_the_same_bit_by_bit() -> None:
    case = random_case(Shape(64, 10, 10, batch=4, positions=5001)).to(torch.bfloat16, "cuda")
    assert torch.equal(output(Triton(), case, 2), output(Triton(), case, 2))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA GPUs")
def test_the_second_gpu_computes_what_the_first_does() -> None:
    case = random_case(Shape(64, 4, 4, positions=1001))
    first, second = (output(Triton(), case.to(torch.bfloat16, f"cuda:{index}"), 2).cpu() for index in (0, 1))
    assert torch.equal(first, second)


def test_a_network_predicts_as_the_definition_does() -> None:
    torch.manual_seed(0)
    network = DiffWave(ModelConfig(network=NetworkConfig(residual_channels=64, residual_layers=10, dilation_cycle=10)))
    torch.nn.init.normal_(network.output_projection.weight)
    network = network.cuda()
    mel, noisy, step = torch.randn(2, 80, 9), torch.randn(2, 9 * network.hop_length), torch.tensor([3.0, 20.0])
    mel, noisy, step = mel.cuda(), noisy.cuda(), step.cuda()
    predictions = []
    with torch.no_grad():
        for backend in (Reference(), Triton()):
            network.backend = backend
            predictions.append(network(noisy, step, network.prepare(network.condition(mel), calls=6)))
    assert relative_error(predictions[1], predictions[0]) < 0.02
