"""What all variants of one table have in common, and where their files are."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from diffwave.config import ConfigError
from diffwave.files import write_text

STEPS = 6
# Of diffwave.evaluation.metrics, as far as they are there.
METRICS = (
    "pesq_wb",
    "estoi",
    "mr_stft_aligned",
    "periodicity_pyin",
    "synchrony",
    "bias_low",
    "bias_mid",
    "bias_high",
    "silence",
    "level",
    "real_time_factor",
)
ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Laboratory:
    """The conditions that every variant is trained and scored under.

    Args:
        data: LibriSpeech root.
        output: folder of the results.
        minutes: of training; 0 if ``iterations`` is the budget.
        iterations: of training; 0 if ``minutes`` is the budget.
        utterances: relative paths below ``data``, synthesized and scored.
        threads: of PyTorch.
        device: ``cpu`` or ``cuda``.
        experiment: configuration that variants start from.
        overrides: hydra overrides of all variants, before their own.
        consistency: iterations towards the mel of the second system.
    """

    data: Path
    output: Path
    minutes: float
    iterations: int
    utterances: tuple[str, ...]
    threads: int
    device: str
    experiment: str
    overrides: tuple[str, ...]
    consistency: int

    def common(self) -> dict[str, Any]:
        """What two results must share to stand in one table; where files lie does not matter."""
        values = {key: value for key, value in asdict(self).items() if key not in ("data", "output")}
        plain: dict[str, Any] = json.loads(json.dumps(values))
        return plain

    @property
    def runs(self) -> Path:
        """Folder of checkpoints and audio."""
        return self.output / "runs"

    @property
    def reference(self) -> Path:
        """Folder of links to the recordings that are synthesized."""
        return self.output / "reference"

    def result(self, name: str, seed: int | None = None) -> Path:
        """Result file of a variant and seed, or of a system without any."""
        return self.output / (f"{name}.json" if seed is None else f"{name}-{seed}.json")

    def budget(self) -> str:
        """In words."""
        return f"{self.minutes:g} minutes of training" if self.minutes else f"{self.iterations} iterations"

    def command(self, variants: str, seeds: list[int]) -> str:
        """What makes these results, with the folders as the recipe calls them."""
        budget = f"--minutes {self.minutes:g}" if self.minutes else f"--iterations {self.iterations}"
        words = ["python recipes/librispeech/ablate.py --data data/LibriSpeech --output ablation", budget]
        words += ["--seeds " + " ".join(map(str, seeds)), f"--variants {variants}"]
        words += [f"--utterances {len(self.utterances)} --threads {self.threads}"]
        words += [f"--device {self.device}"] if self.device != "cpu" else []
        words += [f"--experiment {self.experiment}"] if self.experiment != "librispeech_fast" else []
        return " ".join([*words, *(["--", *self.overrides] if self.overrides else [])])


def link_recordings(laboratory: Laboratory) -> None:
    """Make the folder of links; those of another choice of utterances go.

    Raises:
        ConfigError: if a recording is not there.
    """
    folder = laboratory.reference
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {Path(name).name: (laboratory.data / name).resolve() for name in laboratory.utterances}
    for name, path in wanted.items():
        if not path.is_file():
            raise ConfigError(f"--data {laboratory.data}: expected the validation utterance {name}; there is no {path}")
    for old in folder.iterdir():
        if old.is_symlink() and (old.name not in wanted or old.resolve() != wanted[old.name]):
            old.unlink()
    for name, path in wanted.items():
        if not (folder / name).exists():
            (folder / name).symlink_to(path)


def read(path: Path) -> dict[str, Any]:
    """A document in JSON; empty if there is none, or none that is whole."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def write(path: Path, document: dict[str, Any]) -> None:
    """Write a document in JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(document, indent=1) + "\n")
