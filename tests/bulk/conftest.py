"""A small corpus, and a way to synthesize it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bulk_corpus import Watch, write_recordings
from diffwave.bulk.corpus_run import Order, Pool, synthesize_corpus
from diffwave.bulk.local_workers import Here
from diffwave.bulk.recorded_settings import Request
from diffwave.bulk.utterances import Shard, read_plan
from diffwave.bulk.worker import Setup
from diffwave.config import SynthesisOptions
from diffwave.rendering.prepared_input import read_input


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of eight recordings."""
    return write_recordings(tmp_path_factory.mktemp("recordings"), 8)


@pytest.fixture
def speak(tiny_checkpoint: Path) -> Callable[..., dict[str, Any]]:
    """Synthesize a corpus with the tiny model, in this process if no other pool is given."""

    def call(
        source: Path,
        output: Path,
        shard: tuple[int, int] = (1, 1),
        pool: Callable[[Setup], Pool] = Here,
        read: Any = read_input,
        progress: Watch | None = None,
        force: bool = False,
        seed: int = 0,
        **request: Any,
    ) -> dict[str, Any]:
        asked = Request(checkpoint=str(tiny_checkpoint), device="cpu", options=SynthesisOptions(seed=seed), **request)
        plan = read_plan(source, output, asked.file_format)
        return synthesize_corpus(Order(plan, Shard(*shard), asked, output, force), pool, progress or Watch(), read)

    return call
