"""The page of the benchmark of the service."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.report import measured, said, spread, table

Results = dict[str, Any]


def page(results: Results) -> str:
    """The result page."""
    others = [row["other_cores"] for row in results["loads"].values()]
    busy = " to ".join(sorted({f"{min(others):.1f}", f"{max(others):.1f}"}))
    return "\n".join(
        [
            "# How `diffwave serve` bears many clients",
            "",
            f"{measured(results)} Other processes kept {busy} of the cores busy meanwhile (load average before: "
            f"{results['load_before']:.1f}): with the machine to itself the service is faster.",
            "",
            f"The service runs as a process of its own with the packaged checkpoint on {results['threads']} thread, "
            f"its limits are the default ones. {results['clients']} clients on loopback send mels of "
            f"{results['utterance_seconds']:.2f} s and ask again as soon as they are answered, for "
            f"{results['seconds']:g} s; what is in flight then is finished. An answer counts as failed if it is none, "
            "not 200, or differs by more than 1 of 32768 from that to the same request alone. “Light” is "
            f"`{results['light']}`, “default” the checkpoint's own settings.",
            "",
            *_loads(results),
            "",
            f"A client that is one of {results['clients']} waits for the others: latency is about the number of "
            "clients divided by the requests per second.",
            "",
            *_turns(results),
            "",
            f"Streams of {results['stream_seconds']:g} s, one after the other, the whole mel sent at once; seconds, "
            f"median of {results['stream_repeats']} and range:",
            "",
            *table(
                ["settings", "first audio", "last audio"],
                [(name, said(row["first"]), said(row["last"])) for name, row in results["streams"].items()],
            ),
            "",
        ]
    )


def _loads(results: Results) -> list[str]:
    header = ["settings", "requests", "failed", "per second (lowest to highest sixth)", "p50, s", "p90, s", "p99, s"]
    header += ["longest, s", "mean batch", "work for 1 s of audio, s", "audio in 1 s, s", "peak memory, MiB"]
    rows = []
    for name, row in results["loads"].items():
        windows, latency = row["per_second_by_window"], row["latency"]
        rate = f"{row['per_second']:.1f} ({min(windows):.1f} to {max(windows):.1f})"
        cells = [name, row["requests"], row["failed"], rate, *(f"{latency[q]:.2f}" for q in ("50", "90", "99", "100"))]
        cells += [f"{row['mean_batch']:.1f}", f"{row['real_time_factor']:.3f}", f"{row['audio_per_second']:.1f}"]
        rows.append([*cells, f"{row['peak_mib']:.0f}"])
    return table(header, rows)


def _turns(results: Results) -> list[str]:
    on, off = results["turns"]["on"], results["turns"]["off"]
    rows = []
    for name, found in results["turns"].items():
        middle, late = (statistics.median(row["latency"][q] for row in found) for q in ("50", "99"))
        size, failed = statistics.median(row["mean_batch"] for row in found), sum(row["failed"] for row in found)
        rate = said(spread(row["per_second"] for row in found), 1)
        rows.append([name, rate, f"{middle:.2f}", f"{late:.2f}", f"{size:.1f}", failed])
    ratios = spread(one["per_second"] / other["per_second"] for one, other in zip(on, off, strict=True))
    return [
        f"With batching and without (`--batch-seconds 0`), light settings, {len(on)} times in turns of "
        f"{results['seconds'] / 6:g} s; medians, and the range of the rate:",
        "",
        *table(["batching", "per second", "p50, s", "p99, s", "mean batch", "failed"], rows),
        "",
        f"With batching the service answers {said(ratios)} times as many requests (of the pairs in time).",
    ]
