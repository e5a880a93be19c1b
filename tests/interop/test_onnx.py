"""An ONNX export, run by onnxruntime with this project's loop, equals the checkpoint in PyTorch."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

from diffwave.checkpoint.folder import DEFAULT, Checkpoint, CheckpointError, checkpoint_folder, load_checkpoint
from diffwave.config import BASE, DiffusionConfig, ModelConfig, NetworkConfig, RefinerConfig, SamplingConfig
from diffwave.interop import onnx_export
from diffwave.interop.onnx_names import CONDITIONER_NAME, OPSET, REFINER_NAME, STEP_NAME
from diffwave.interop.onnx_runtime import load_onnx
from diffwave.network.diffwave import DiffWave
from diffwave.network.refiner import Refiner
from diffwave.vocoder import Vocoder
from tiny import TINY, random_weights

onnx = pytest.importorskip("onnx", reason="pip install 'diffwave-vocoder[onnx]'")
pytest.importorskip("onnxscript", reason="pip install 'diffwave-vocoder[onnx]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'diffwave-vocoder[onnx]'")

SMALL = NetworkConfig(residual_channels=8, residual_layers=4, dilation_cycle=3)
LENGTHS = (1, 2, 7, 40)
MODELS: dict[str, ModelConfig] = {
    "base": dataclasses.replace(BASE, network=SMALL),
    "mirrored, clean, energy": dataclasses.replace(
        BASE,
        network=dataclasses.replace(SMALL, padding="reflect", parameterization="clean"),
        diffusion=DiffusionConfig(prior="energy"),
        sampling=SamplingConfig(steps=3),
    ),
    "squeezed, velocity, spectral, refined": dataclasses.replace(
        TINY,
        refiner=RefinerConfig(channels=8, hidden=12, dilations=[1, 2]),
        sampling=SamplingConfig(
            steps=2,
            consistency_iterations=4,
            consistency_at="warm",
            refinements=2,
            step_iterations=3,
            warm_iterations=5,
        ),
    ),
}


def make(config: ModelConfig) -> Checkpoint:
    network = DiffWave(config)
    random_weights(network)
    checkpoint = Checkpoint(config, network.state_dict())
    if config.refiner.dilations:
        refiner = Refiner(config)
        random_weights(refiner, seed=1)
        checkpoint = checkpoint.with_refiner(refiner, config)
    return checkpoint


@pytest.fixture(scope="module", params=MODELS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Vocoder, Vocoder, Path]:
    """PyTorch's vocoder, the export's, and its folder."""
    checkpoint = make(MODELS[request.param])
    folder = tmp_path_factory.mktemp("onnx")
    assert onnx_export.export_onnx(checkpoint, folder) < 1e-4
    return Vocoder(checkpoint, "cpu", "reference", "float32"), load_onnx(folder), folder


def speech(vocoder: Vocoder, frames: int) -> torch.Tensor:
    """A mel as of speech, loud and soft in turn."""
    noise = torch.randn(vocoder.sample_rate, generator=torch.Generator().manual_seed(0))
    swell = torch.linspace(0, 40, len(noise)).sin().square() * 0.1 + 1e-4
    return vocoder.mel((noise * swell)[: frames * vocoder.hop_length])


def test_files_are_valid_and_say_what_they_are(pair: tuple[Vocoder, Vocoder, Path]) -> None:
    torch_vocoder, vocoder, folder = pair
    names = {CONDITIONER_NAME, STEP_NAME, "config.json"} | ({REFINER_NAME} if torch_vocoder.refiner else set())
    assert {path.name for path in folder.iterdir()} == names
    for path in folder.glob("*.onnx"):
        onnx.checker.check_model(str(path), full_check=True)
        model = onnx.load(path)
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        assert metadata["diffwave.parameterization"] == vocoder.config.network.parameterization
    assert vocoder.config == torch_vocoder.config
    assert (vocoder.backend, vocoder.precision) == ("onnx", "float32")


@pytest.mark.parametrize("frames", LENGTHS)
def test_the_network_alone_speaks_the_same(pair: tuple[Vocoder, Vocoder, Path], frames: int) -> None:
    ours, theirs, _ = pair
    mel = speech(ours, frames)
    for steps, sampler in ((3, "ddpm"), (5, "ddim"), (2, "dpm++"), ("full", "ddpm")):
        expected = ours.synthesize(mel, steps=steps, sampler=sampler, seed=5, consistency=0)
        found = theirs.synthesize(mel, steps=steps, sampler=sampler, seed=5, consistency=0)
        level = float(expected.abs().max())
        torch.testing.assert_close(found, expected, atol=1e-4 * max(1.0, level), rtol=0)
        assert level > 1e-3


def test_mels_change_the_output(pair: tuple[Vocoder, Vocoder, Path]) -> None:
    ours, theirs, _ = pair
    mel = speech(ours, 12)
    outputs = [theirs.synthesize(m, steps=3, consistency=0) for m in (mel, mel.flip(-1))]
    assert (outputs[0] - outputs[1]).abs().max() > 1e-2 * outputs[0].abs().max()


def test_batches_equal_one_by_one(pair: tuple[Vocoder, Vocoder, Path]) -> None:
    ours, theirs, _ = pair
    mels = [speech(ours, frames) for frames in (9, 4, 17)]
    together = theirs.synthesize_batch(mels, steps=3, seed=2, consistency=0)
    for mel, wav in zip(mels, together, strict=True):
        alone = theirs.synthesize(mel, steps=3, seed=2, consistency=0)
        torch.testing.assert_close(wav, alone, atol=1e-5 * max(1.0, float(alone.abs().max())), rtol=0)
    stacked = theirs.synthesize(torch.stack([mels[0], mels[0].flip(-1)]), steps=3, seed=2, consistency=0)
    torch.testing.assert_close(stacked[0], together[0], atol=1e-5 * max(1.0, float(stacked.abs().max())), rtol=0)


def test_streams_are_the_whole(pair: tuple[Vocoder, Vocoder, Path]) -> None:
    _, vocoder, _ = pair
    mel = speech(vocoder, 60)
    whole = vocoder.synthesize(mel, steps=2, consistency=0)
    pieces = list(vocoder.stream(torch.split(mel, 7, dim=1), steps=2, consistency=0))
    assert len(pieces) > 1
    torch.testing.assert_close(torch.cat(pieces), whole, atol=1e-5 * max(1.0, float(whole.abs().max())), rtol=0)
    if vocoder.config.mel.log != "db01":
        guided = vocoder.synthesize(mel, steps=2, consistency=3)
        assert torch.equal(torch.cat(list(vocoder.stream(torch.split(mel, 7, dim=1), steps=2, consistency=3))), guided)


def test_guided_sampling_speaks_the_same(pair: tuple[Vocoder, Vocoder, Path]) -> None:
    """A few iterations amplify rounding little; hundreds are compared by scores in docs/benchmarks/interop.md."""
    ours, theirs, _ = pair
    if not ours.config.sampling.guided:
        pytest.skip("this model's sampling is not guided")
    mel = speech(ours, 30)
    expected, found = (one.synthesize(mel, seed=1) for one in (ours, theirs))
    assert (found - expected).abs().max() < 1e-3 * expected.abs().max()
    alone = theirs.synthesize(mel, seed=1, refinements=0)
    assert (found - alone).abs().max() > 1e-3 * expected.abs().max()  # the refiner has a say


@pytest.mark.slow
def test_the_default_checkpoint_speaks_the_same(tmp_path: Path) -> None:
    folder = checkpoint_folder(DEFAULT)
    assert onnx_export.export_onnx(load_checkpoint(folder), tmp_path) < 1e-4
    ours, theirs = Vocoder.from_pretrained(DEFAULT, "cpu", "reference"), load_onnx(tmp_path)
    for frames in (3, 62):
        mel = speech(ours, frames)
        for steps in (6, "full"):
            wavs = [one.synthesize(mel, steps=steps, consistency=0) for one in (ours, theirs)]
            torch.testing.assert_close(wavs[0], wavs[1], atol=1e-4, rtol=0)


@pytest.fixture
def export(pair: tuple[Vocoder, Vocoder, Path], tmp_path: Path) -> Path:
    """A copy of an export, to spoil."""
    return Path(shutil.copytree(pair[2], tmp_path / "export"))


@pytest.mark.parametrize("pair", ["base"], indirect=True)
def test_damaged_exports_are_refused(export: Path) -> None:
    content = (export / STEP_NAME).read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"not a model"):
        (export / STEP_NAME).write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"step\.onnx: expected an ONNX model") as caught:
            load_onnx(export)
        assert "\n" not in str(caught.value)
    (export / STEP_NAME).write_bytes(content)
    (export / CONDITIONER_NAME).unlink()
    with pytest.raises(CheckpointError, match=r"with conditioner\.onnx; there is none"):
        load_onnx(export)


@pytest.mark.parametrize("pair", ["base"], indirect=True)
def test_graphs_of_another_model_are_refused(export: Path) -> None:
    document = json.loads((export / "config.json").read_text(encoding="utf-8"))
    document["model"]["mel"]["n_mels"] = 64
    (export / "config.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(CheckpointError, match="expected the graph of this model"):
        load_onnx(export)
    document["model"]["mel"] |= {"n_mels": 80, "hop_length": 128}
    (export / "config.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"expected the graph of this model|expected a step of"):
        load_onnx(export)


@pytest.mark.parametrize("pair", ["base"], indirect=True)
def test_an_export_is_no_checkpoint_and_says_so(export: Path) -> None:
    with pytest.raises(CheckpointError, match="ONNX export: only diffwave synthesize"):
        Vocoder.from_pretrained(export)


@pytest.mark.parametrize("pair", ["base"], indirect=True)
def test_an_export_s_networks_are_none_of_pytorch_s(pair: tuple[Vocoder, Vocoder, Path]) -> None:
    _, vocoder, _ = pair
    networks = [network for network in (vocoder.network, vocoder.refiner) if network is not None]
    assert not any(isinstance(network, torch.nn.Module) or list(network.parameters()) for network in networks)


def test_wrong_graphs_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "_silu", torch.sigmoid)
    with pytest.raises(CheckpointError, match="expected graphs that equal PyTorch"):
        onnx_export.export_onnx(make(MODELS["base"]), tmp_path / "o")
    assert list((tmp_path / "o").iterdir()) == []


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_what_an_export_lacks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, tiny_checkpoint: Path
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"package {package}: pip install 'diffwave-vocoder\[onnx\]'"):
        onnx_export.export_onnx(load_checkpoint(tiny_checkpoint), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_a_vocoder_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_checkpoint: Path) -> None:
    shutil.copy(tiny_checkpoint / "config.json", tmp_path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"package onnxruntime: pip install 'diffwave-vocoder\[onnx\]'"):
        load_onnx(tmp_path)
