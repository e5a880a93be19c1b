"""Which backend runs: by name or by ``auto``, with stand-ins for kernels and devices."""

from __future__ import annotations

import dataclasses
import importlib
import logging
import sys
import types

import pytest
import torch

from diffwave.kernels import compiled, dispatch
from diffwave.kernels.backend_names import BACKENDS
from diffwave.kernels.compiled import Compiled
from diffwave.kernels.dispatch import BackendChoice, BackendError, choose
from diffwave.kernels.native import Native
from diffwave.kernels.reference import Reference
from diffwave.network.diffwave import DiffWave
from tiny import TINY, random_weights

CPU, CUDA, OTHER = torch.device("cpu"), torch.device("cuda"), torch.device("meta")


class Kernel:
    """Stands for a hand-written backend."""

    def __init__(self, name: str) -> None:
        self.name = name


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch):
    """Set why each of the two kernels cannot run, None where it can."""

    def use(native: str | None, triton: str | None) -> None:
        for name, what, reason, kind in (("native", "Native", native, "cpu"), ("triton", "Triton", triton, "cuda")):
            module = types.ModuleType(name)
            wrong = f"expected {kind}"
            module.unavailable = lambda device, _, reason=reason, kind=kind, wrong=wrong: (
                reason if device.type == kind else wrong
            )
            setattr(module, what, lambda name=name: Kernel(name))
            monkeypatch.setitem(sys.modules, dispatch._KERNELS[name][0], module)

    return use


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def names(choice: BackendChoice) -> tuple[str, str, str | None]:
    return choice.backend.name, choice.precision, choice.autocast


@pytest.mark.parametrize(
    ("device", "precision", "expected"),
    [
        (CPU, "auto", ("native", "bfloat16", None)),
        (CPU, "bfloat16", ("native", "bfloat16", None)),
        (CPU, "float32", ("reference", "float32", None)),
        (CUDA, "auto", ("triton", "bfloat16", None)),
        (CUDA, "bfloat16", ("triton", "bfloat16", None)),
        (CUDA, "float32", ("reference", "float32", None)),
        (OTHER, "auto", ("reference", "float32", None)),
        (OTHER, "bfloat16", ("reference", "bfloat16", "meta")),
    ],
)
def test_auto_takes_the_kernel_of_the_device(kernels, log, device, precision, expected) -> None:
    kernels(None, None)
    assert names(choose("auto", precision, device, 64)) == expected
    assert log.records == []


@pytest.mark.parametrize(
    ("device", "precision", "expected", "level"),
    [
        (CPU, "auto", ("reference", "float32", None), logging.INFO),
        (CPU, "bfloat16", ("reference", "bfloat16", "cpu"), logging.INFO),
        (CUDA, "auto", ("reference", "float32", None), logging.WARNING),
        (CUDA, "bfloat16", ("reference", "bfloat16", "cuda"), logging.WARNING),
    ],
)
def test_auto_falls_back_with_one_line_that_says_why(kernels, log, monkeypatch, device, precision, expected, level):
    kernels("no such instructions", "no such compiler")
    monkeypatch.setattr(dispatch, "has_bfloat16", lambda: True)
    assert names(choose("auto", precision, device, 64)) == expected
    (record,) = log.records
    assert record.levelno == level
    assert "no such" in record.getMessage()
    assert "\n" not in record.getMessage()
    assert expected[1] in record.getMessage()


def test_a_module_that_cannot_be_imported_is_a_kernel_that_cannot_run(kernels, log, monkeypatch) -> None:
    kernels(None, None)
    monkeypatch.setitem(sys.modules, dispatch._KERNELS["triton"][0], None)  # import raises ModuleNotFoundError
    assert choose("auto", "auto", CUDA, 64).backend == Reference()
    assert "cannot be imported" in log.records[0].getMessage()
    with pytest.raises(BackendError, match=r"^backend triton cannot run here: .*cannot be imported"):
        choose("triton", "auto", CUDA, 64)


@pytest.mark.parametrize("precision", ["auto", "bfloat16"])
def test_a_named_kernel_runs_in_bfloat16(kernels, log, precision: str) -> None:
    kernels(None, None)
    assert names(choose("native", precision, CPU, 64)) == ("native", "bfloat16", None)
    assert names(choose("triton", precision, CUDA, 64)) == ("triton", "bfloat16", None)
    assert log.records == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("native", "auto", CPU), "backend native cannot run here: no such instructions"),
        (("triton", "auto", CUDA), "backend triton cannot run here: no such compiler"),
        (("triton", "auto", CPU), "backend triton cannot run here: expected cuda"),
        (("native", "float32", CPU), "backend native: expected precision bfloat16 or auto.*; got float32"),
        (("triton", "float32", CUDA), "backend triton: expected precision bfloat16 or auto.*; got float32"),
        (("fast", "auto", CPU), "backend: expected one of auto, reference, compiled, native, triton; got 'fast'"),
        (("auto", "float16", CPU), "precision: expected one of auto, float32, bfloat16; got 'float16'"),
    ],
)
def test_what_was_named_and_cannot_be_is_one_line(kernels, log, arguments, reason: str) -> None:
    kernels("no such instructions", "no such compiler")
    with pytest.raises(BackendError, match=f"^{reason}") as caught:
        choose(*arguments, 64)
    assert "\n" not in str(caught.value)
    assert log.records == []


def test_the_kernels_keep_the_contract() -> None:
    """Not stand-ins: they answer in one line, or offer a backend of their name."""
    for name, (where, what, kind) in dispatch._KERNELS.items():
        module = importlib.import_module(where)
        wrong = torch.device("meta")
        assert "\n" not in module.unavailable(wrong, 64)
        assert name in BACKENDS
        there = kind == "cpu" or torch.cuda.is_available()
        if there and module.unavailable(torch.device(kind), 64) is None:
            assert getattr(module, what)().name == name


def test_bfloat16_on_a_processor_without_it_is_one_warning(kernels, log, monkeypatch) -> None:
    kernels("no such instructions", None)
    monkeypatch.setattr(dispatch, "has_bfloat16", lambda: False)
    for backend in ("reference", "auto"):
        log.clear()
        assert names(choose(backend, "bfloat16", CPU, 64)) == ("reference", "bfloat16", "cpu")
        (record,) = log.records
        assert record.levelno == logging.WARNING
    log.clear()
    choose("reference", "float32", CPU, 64)
    assert log.records == []


def test_processors_flags(monkeypatch) -> None:
    for flags, expected in (({"bf16": True}, True), ({"avx512_bf16": False, "avx2": True}, False)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda flags=flags: flags, raising=False)
        assert dispatch.has_bfloat16() is expected
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert dispatch.has_bfloat16() is True


def test_arithmetic_is_autocast_only_where_it_has_to_be() -> None:
    x = torch.ones(2, 2)
    with choose("reference", "bfloat16", CPU, 8).arithmetic():
        assert (x @ x).dtype == torch.bfloat16
    with choose("reference", "float32", CPU, 8).arithmetic():
        assert (x @ x).dtype == torch.float32


def test_compiled_needs_a_compiler(monkeypatch) -> None:
    monkeypatch.setattr(compiled.shutil, "which", lambda _: None)
    with pytest.raises(BackendError, match=r"backend compiled cannot run here: expected a C\+\+ compiler"):
        choose("compiled", "auto", CPU, 8)
    monkeypatch.setattr(compiled.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(BackendError, match="expected the package triton"):
        choose("compiled", "auto", CUDA, 8)


def test_compiled_is_the_reference_compiled(monkeypatch) -> None:
    """With a compiler that does nothing, for the real one takes half a minute; see the test of the vocoder."""
    seen: list[bool] = []
    monkeypatch.setattr(torch, "compile", lambda function, dynamic: seen.append(dynamic) or function)
    monkeypatch.setattr(compiled, "unavailable", lambda _: None)
    choice = choose("compiled", "auto", CPU, 8)
    assert names(choice) == ("compiled", "float32", None)
    assert names(choose("compiled", "bfloat16", CPU, 8))[:2] == ("compiled", "bfloat16")
    network = DiffWave(TINY)
    random_weights(network)
    layers, mel = network.layers(), torch.randn(1, 80, 32)
    x, shifts = torch.randn(1, 8, 32), torch.randn(1, 3, 8)
    ours = choice.backend.stack(layers, mel, None, 2)(x, shifts)
    assert torch.equal(ours, Reference().stack(layers, mel, None, 2)(x, shifts))
    assert seen == [True]
    assert choice.backend == Compiled()


def test_a_network_with_mirrored_ends_runs_in_plain_pytorch(kernels) -> None:
    kernels(None, None)
    for device in (CPU, CUDA):
        assert choose("auto", "auto", device, 96).backend.name in ("native", "triton")
        assert choose("auto", "auto", device, 96, "reflect").backend.name == "reference"
    for name, device in (("native", CPU), ("triton", CUDA)):
        with pytest.raises(BackendError, match=r"zeros beyond the ends of the signal; got network\.padding=reflect"):
            choose(name, "auto", device, 96, "reflect")


def test_kernels_refuse_layers_with_mirrored_ends() -> None:
    network = DiffWave(dataclasses.replace(TINY, network=dataclasses.replace(TINY.network, padding="reflect")))
    with pytest.raises(ValueError, match="backend native: expected layers with zeros beyond the ends"):
        Native().stack(network.layers(), torch.zeros(1, 80, 32), None, 1)
