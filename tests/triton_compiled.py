"""Compile the Triton kernels for Hopper on a machine without a GPU, and read what they would take of one."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from diffwave.kernels.triton_backward import backward_constants, gate_backward, input_backward
from diffwave.kernels.triton_forward import forward_constants, layer_forward
from diffwave.kernels.triton_resident import resident_constants, resident_forward
from diffwave.kernels.triton_tiles import GATE_BACKWARD, RESIDENT, Tile, tile_for

TAPS = 3
HOPPER = GPUTarget("cuda", 90, 32)
# Arguments that are not bfloat16 tensors.
TYPES = {
    **dict.fromkeys(("taps", "bias", "output_bias"), "*fp32"),
    "lengths": "*i32",
    **dict.fromkeys(("positions", "dilation", "rows", "per_example", "tiles"), "i32"),
}


def compile_forward(channels: int, mels: int, save: bool) -> dict[str, Any]:
    """The kernel that reads its weights for every tile.

    Args:
        channels: ``C``.
        mels: padded bands; 0 where projections are kept.
        save: keep what the backward pass needs.
    """
    tile = tile_for(channels)
    constants = forward_constants(channels, TAPS, mels, False, save, tile)
    return {"mels": mels, "save": save, **_compile(layer_forward, channels, constants, tile)}


def compile_resident(channels: int) -> dict[str, Any]:
    """The kernel that holds its weights."""
    return _compile(resident_forward, channels, resident_constants(channels, False), RESIDENT)


def compile_backward(channels: int) -> list[dict[str, Any]]:
    """Both kernels of the backward pass."""
    tile = tile_for(channels)
    constants = {**backward_constants(channels, tile), "TAPS": TAPS}
    return [
        _compile(gate_backward, channels, backward_constants(channels, GATE_BACKWARD), GATE_BACKWARD),
        _compile(input_backward, channels, constants, tile),
    ]


def _compile(kernel: Any, channels: int, constants: dict[str, Any], tile: Tile) -> dict[str, Any]:
    constants = {**constants, "OPERAND": tl.bfloat16}
    names = kernel.arg_names
    signature = {name: "constexpr" if name in constants else TYPES.get(name, "*bf16") for name in names}
    # PyTorch's memory is aligned to 16 bytes and more, which the launcher finds out and passes on.
    aligned = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(names) if signature[name].startswith("*")}
    source = ASTSource(kernel, signature, constants, aligned)
    options = {"num_warps": tile.warps, "maxnreg": tile.registers}
    compiled = triton.compile(source, target=HOPPER, options=options)
    ptx = compiled.asm["ptx"]
    return {
        "kernel": kernel.fn.__name__,
        "channels": channels,
        "block": tile.block,
        "warps": tile.warps,
        "stages": tile.stages,
        "register_limit": tile.registers,
        **assemble(ptx),
        "shared_bytes": compiled.metadata.shared,
        "ptx_bytes": len(ptx),
        "wgmma": ptx.count("wgmma.mma_async"),
        "mma": ptx.count("mma.sync"),
        "async_copies": len(re.findall(r"cp\.async\.c[ag]\.shared", ptx)),
    }


def assemble(ptx: str) -> dict[str, int]:
    """Registers of a thread and bytes it spills, by the assembler's own report."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(ptx, encoding="utf-8")
        # As Triton calls it.
        options = ["-v", "--regAllocOptLevel=2", "--gpu-name=sm_90a"]
        command = [triton.knobs.nvidia.ptxas.path, *options, str(source), "-o", str(source.with_suffix(".cubin"))]
        report = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    found = {}
    for name, pattern in (
        ("registers", r"Used (\d+) registers"),
        ("spill_store_bytes", r"(\d+) bytes spill stores"),
        ("spill_load_bytes", r"(\d+) bytes spill loads"),
    ):
        match = re.search(pattern, report)
        if match is None:
            raise ValueError(f"the assembler's report has no {name}: {report}")
        found[name] = int(match.group(1))
    return found
