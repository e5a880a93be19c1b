from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from diffwave.corpus.inspecting import inspect_all
from diffwave.corpus.inspection import Inspection

# What the processes do, in a module that they can import.
MODULE = """
import os, signal, time
from diffwave.corpus.inspection import Inspection

def look(path):
    if path.name.startswith("kills"):
        os.kill(os.getpid(), signal.SIGSEGV)
    return Inspection(detail=path.name)

def meet(path):
    path.touch()
    while len(list(path.parent.iterdir())) < 3:
        time.sleep(0.01)
    return Inspection()
"""


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("decoder")
        (folder / "made_up_decoder.py").write_text(MODULE)
        patch.syspath_prepend(folder)
        import made_up_decoder

        yield made_up_decoder


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_crash_costs_its_file_and_no_other(decoder: ModuleType, jobs: int) -> None:
    names = [f"kills {i}" if i in (0, 7, 8, 29) else f"{i}" for i in range(30)]
    results = dict(inspect_all([Path(name) for name in names], jobs, decoder.look))
    assert sorted(path.name for path in results) == sorted(names)
    for path, found in results.items():
        if path.name.startswith("kills"):
            assert found == Inspection("crashed the decoder", "the process that decoded it ended with code -11")
        else:
            assert found == Inspection(detail=path.name)


@pytest.mark.timeout(60)
def test_processes_work_side_by_side(decoder: ModuleType, tmp_path: Path) -> None:
    # Each waits for the two others: one after the other, they would wait forever.
    assert len(list(inspect_all([tmp_path / str(i) for i in range(3)], 3, decoder.meet))) == 3


def test_nothing_to_do_starts_nothing() -> None:
    assert list(inspect_all([], 4)) == []
