"""The sections of the page of ``benchmarks/training.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

LABELS = {
    "peer float32": "lmnt-com, `train_step`",
    "peer float16": "lmnt-com, `train_step`, `--fp16`",
    "ours float32": "this project, float32",
    "ours bfloat16": "this project, `train.precision=bfloat16`",
    "ours float32 compiled": "this project, float32, `train.compile=true`",
    "ours bfloat16 compiled": "this project, `train.precision=bfloat16`, `train.compile=true`",
}


def throughput(devices: dict[str, Any]) -> list[str]:
    """Speed and equality, for each device that it was measured on."""
    lines = [
        "BASE of the paper with the other package's mel (22,050 Hz), its learning rate, its loss (L1) and no clipping "
        "to speak of; the same weights and the same crops of speech in both. A step is what the loop of each package "
        "does with a batch: forward and backward pass, norm of the gradient, Adam, and the loss as a number on the "
        "host. Both have the batch in memory. The other package is handed the mel too, which its preparation "
        "computes once for all; here the step computes the mel itself, draws noise that a resume draws again, and "
        "moves the average of the weights, which the other package does not keep.",
    ]
    for device, name in (("cpu", "CPU"), ("cuda", "GPU")):
        lines += ["", f"### On a {name}", ""]
        lines += _speed(devices[device]) if device in devices else [f"Not yet run on a {name}."]
    return lines


def _speed(found: dict[str, Any]) -> list[str]:
    setting, bases = found["setting"], list(found["speed_ratio"])
    head = ["system", "crops per second, median", "min to max", "seconds per step", "first turn, s"]
    head += [f"speed against its {mode(base)}" if len(bases) > 1 else "speed" for base in bases]
    rows = [["---", *["---:"] * (len(head) - 1)]]
    for name, speed in found["crops_per_second"].items():
        seconds = found["seconds"][name]["median"] / setting["steps"]
        row = [LABELS[name], f"{speed['median']:.3g}", f"{speed['min']:.3g} to {speed['max']:.3g}", f"{seconds:.3g}"]
        row += [f"{found['warm_up'][name]:.1f}", *(_ratio(found, base, name) for base in bases)]
        rows.append(row)
    return [
        f"Batch {setting['batch']} crops of {setting['frames']} frames ({setting['samples']:,} samples), "
        f"{setting['threads']} thread{'s' if setting['threads'] > 1 else ''} in every process, {setting['steps']} "
        f"step{'s' if setting['steps'] > 1 else ''} a turn. lmnt-com's `diffwave` is version {setting['peer']} from "
        "the package index.",
        "",
        *("| " + " | ".join(row) + " |" for row in (head, *rows)),
        "",
        *(f"{LABELS[name]}: did not run here: {why}\n" for name, why in found["failed"].items()),
        f"Speed is the other package's time over ours, within each of {setting['rounds']} rounds: median, and the "
        "extremes of the rounds; above 1 this project is faster. The systems take turns in processes of their own, "
        "each sleeping while another computes, after one turn to warm up, in which `torch.compile` does its work. Load "
        f"average before the rounds: {found['load_before']:.1f}.",
        "",
        *_fairness(found),
        "",
        *_reading(found),
        "",
        measured(found),
    ]


def _ratio(found: dict[str, Any], base: str, name: str) -> str:
    ratio = found["speed_ratio"][base].get(name)
    if ratio:
        return f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})"
    return "1" if name == base else ""


def _fairness(found: dict[str, Any]) -> list[str]:
    """That both compute the same thing."""
    equality = found["equality"]
    return [
        f"Both compute the same thing: with the same noise and diffusion steps in float32 the loss is "
        f"{equality['loss']['peer']:.6f} there and {equality['loss']['ours']:.6f} here, and of the gradients of all "
        f"{equality['parameters']:,} parameters none differs by more than {equality['gradient_difference']:.1e} (in "
        f"`{equality['gradient_difference_in']}`; the largest gradient is {equality['gradient_largest']:.2g}, their "
        f"RMS {equality['gradient_rms']:.1e}; tolerance {equality['tolerance']:g}). What is left is "
        "rounding, and the jump of L1's gradient at samples whose error is within rounding of zero.",
        *(
            ["", "The other package's half precision is `torch.cuda.amp`, which does nothing on a CPU: no row."]
            if "peer float16" not in found["seconds"]
            else []
        ),
    ]


def _reading(found: dict[str, Any]) -> list[str]:
    setting = found["setting"]
    reading = setting["reading_seconds"]["median"]
    step = found["seconds"]["ours float32"]["median"] / setting["steps"] if "ours float32" in found["seconds"] else None
    share = f", {reading / step:.2%} of a float32 step here" if step else ""
    return [
        f"Reading is not in these figures. Our data path reads the {setting['batch']} crops with their context in "
        f"{reading * 1000:.1f} ms{share}, with one process and the files in the system's memory. The other package's "
        "loader calls `torchaudio.load_wav`, which torchaudio no longer has, so it cannot be timed.",
    ]


_KERNEL_LABELS = {
    "convolutions": "PyTorch's convolutions, autocast",
    "reference": "`train.backend=reference`",
    "native": "`train.backend=native`, the C kernel",
}


def kernel(found: dict[str, Any]) -> list[str]:
    """The default model through the C kernel and without it."""
    if "unavailable" in found:
        return [f"The kernel cannot run where this was measured: {found['unavailable']}."]
    setting = found["setting"]
    lines = [
        "`experiment=librispeech_fast` (the default model) in bfloat16: a whole step, from samples in memory to moved "
        "weights, on the same crops. The first row is the same network with PyTorch's convolutions everywhere; the "
        "second keeps those of the residual layers and writes the others, which have a single channel on one side, as "
        f"matrix products; the third runs the residual layers in the C kernel. {setting['batch']} crops of "
        f"{setting['frames']} frames, {setting['threads']} thread{'s' if setting['threads'] > 1 else ''}, turn by "
        "turn.",
        "",
        "| residual layers | ms per step, median | min to max | speed | gradient's error |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, taken in found["seconds"].items():
        ratio = found["speed_ratio"].get(name)
        speed = f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})" if ratio else "1"
        times = f"{1000 * taken['median']:.0f} | {1000 * taken['min']:.0f} to {1000 * taken['max']:.0f}"
        lines.append(f"| {_KERNEL_LABELS[name]} | {times} | {speed} | {found['gradient_difference'][name]:.2%} |")
    lines += [
        "",
        f"Speed is the first row's time over the others', within each of {setting['rounds']} rounds: median, and the "
        "extremes. The gradient's error is the norm of its difference from the one in float32, over the norm of that. "
        f"Load average before the rounds: {found['load_before']:.1f}.",
    ]
    return [*lines, "", measured(found)]


def wait(found: dict[str, Any]) -> list[str]:
    """Share of time spent waiting, with and without loader processes."""
    setting = found["setting"]
    data = "the given data" if setting["data"] == "given" else "copies of the three recordings in this repository"
    lines = [
        f"`experiment=librispeech_fast` (the default model) on FLAC files, {data}: the column `data_wait` of "
        f"`history.jsonl`, {setting['iterations']} iterations in lines of {setting['log_every']}, "
        f"{setting['threads']} thread{'s' if setting['threads'] > 1 else ''}, after a first line in which loader "
        "processes start. The files are in the system's memory; a slow disk would show.",
        "",
        "| loader processes | waiting, median | min to max | first line | crops per second |",
        "|---:|---:|---:|---:|---:|",
    ]
    for workers, row in found["workers"].items():
        share = row["data_wait"]
        lines.append(
            f"| {workers} | {share['median']:.2%} | {share['min']:.2%} to {share['max']:.2%} | {row['first']:.1%} | "
            f"{row['crops_per_second']:.1f} |"
        )
    return [*lines, "", measured(found)]


def gradients(found: dict[str, Any]) -> list[str]:
    """Two processes against one."""
    crops = [f"{numbers[0]} to {numbers[-1]}" for numbers in found["crops"]]
    return [
        f"The default model in float32 after {found['warm_up']} iterations (at the very start the output layer is "
        "zero, and hardly a parameter has a gradient): the gradient of the next batch, computed by one process, and "
        "by two with gloo that take half of it each.",
        "",
        f"- Largest absolute difference: {found['difference']:.1e} in `{found['difference_in']}`; the largest gradient "
        f"is {found['gradient_largest']:.2g}. {found['parameters_with_gradient']:,} of {found['parameters']:,} "
        "parameters have a gradient other than zero.",
        f"- Same crops in the same order: {'yes' if all(found['same_order']) else '**no**'} (numbers "
        f"{' and '.join(crops)} in the two iterations looked at).",
        "",
        measured(found),
    ]


def kills(found: dict[str, Any]) -> list[str]:
    """A run that was killed, beside one that was not."""

    def word(equal: bool) -> str:
        return "yes" if equal else "**no**"

    setting = found["setting"]
    return [
        f"A small network on the same recordings, {setting['iterations']} iterations with a state every 2, killed "
        f"{found['kills']} times (`SIGKILL`) at random moments (seed {setting['seed']}) and started again, beside the "
        "same run left alone.",
        "",
        f"- Weights, average, optimiser and progress equal to the bit: {word(found['states_equal'])}; files of the "
        f"last and the best weights: {word(found['checkpoints_equal'])}; history, without its times: "
        f"{word(found['history_equal'])}.",
        f"- The newest state after the kills was at {len(set(found['found_at']))} different iterations: "
        f"{', '.join(map(str, found['found_at']))}.",
        f"- Unreadable files: 0 (every file was read after every kill; one that cannot be read ends the measurement). "
        f"Files left over: {len(found['leftovers'])}.",
        "",
        measured(found),
    ]


def memory(found: dict[str, Any]) -> list[str]:
    """Resident memory over a run."""
    rows = found["rows"]
    chosen = [rows[round(i * (len(rows) - 1) / 10)] for i in range(11)] if len(rows) > 11 else rows
    return [
        "Resident memory of the training process, the column `memory_mib` of `history.jsonl` every 50 iterations: a "
        "small network, a validation and a checkpoint every 100 iterations, TensorBoard on.",
        "",
        "| iteration | " + " | ".join(str(iteration) for iteration, _ in chosen) + " |",
        "|---|" + "---:|" * len(chosen),
        "| MiB | " + " | ".join(f"{mib:.1f}" for _, mib in chosen) + " |",
        "",
        f"From iteration {found['from'][0]} to {found['to'][0]}: {found['first_quarter']:.1f} MiB in the first quarter "
        f"and {found['last_quarter']:.1f} in the last ({found['growth']:+.2%}, medians); the most was "
        f"{found['most'][1]:.1f} at {found['most'][0]}. The median slope is {found['kib_per_1000_iterations']:.0f} "
        "KiB in 1,000 iterations.",
        "",
        measured(found),
    ]


def resume(found: dict[str, Any]) -> list[str]:
    """Time and room of a state."""
    save, start = found["save_seconds"], found["start_seconds"]
    room = {name: size / 2**20 for name, size in found["bytes"].items()}
    return [
        f"The default model. Saving takes {save['median']:.2f} s ({save['min']:.2f} to {save['max']:.2f}): a state of "
        f"{room['state']:.1f} MiB to go on from and a checkpoint of {room['checkpoint']:.1f} MiB to synthesize with, "
        "both synced to the disk.",
        "",
        f"From the command to the first iteration: {start['anew']['median']:.1f} s for a new run "
        f"({start['anew']['min']:.1f} to {start['anew']['max']:.1f}), {start['resumed']['median']:.1f} s for one that "
        f"goes on ({start['resumed']['min']:.1f} to {start['resumed']['max']:.1f}); most of it is Python importing "
        f"PyTorch. With that done, reading the state and building the trainer takes {found['build_seconds']:.2f} s.",
        "",
        measured(found),
    ]


def best_peer(found: dict[str, Any]) -> str:
    """The fastest way in which the other package was run."""
    return min(found["speed_ratio"], key=lambda name: found["seconds"][name]["median"])


def mode(turn: str) -> str:
    """How a system was run, in words."""
    return turn.split(" ", 1)[1].replace(" compiled", ", compiled")


def measured(found: dict[str, Any]) -> str:
    """Where and how a section was measured."""
    where = found["environment"]
    gpu = f"{where['gpu']}, " if "gpu" in where else ""
    return (
        f"Measured by `{found['command']}` on {found['date']}: {gpu}{where['processor']}, {where['cores']} cores, "
        f"{where['system']}, Python {where['python']}, torch {where['torch']}."
    )


SECTIONS: dict[str, tuple[str, Callable[[dict[str, Any]], list[str]]]] = {
    "throughput": ("A training step beside lmnt-com's", throughput),
    "kernel": ("The default model and the C kernel", kernel),
    "wait": ("Waiting for data", wait),
    "gradients": ("Two processes against one", gradients),
    "kills": ("Kills", kills),
    "memory": ("Memory", memory),
    "resume": ("What a resume costs", resume),
}
