"""From folders of audio to the folder of a listening test, whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import io
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import diffwave
from diffwave.listening import p808, webmushra
from diffwave.listening.anchors import ANCHOR70_NAME, MNRU_NAME
from diffwave.listening.design import ListeningTest
from diffwave.listening.documents import PRIVATE, write_documents
from diffwave.listening.export_settings import ExportSettings, check, check_output
from diffwave.listening.guide import p808_readme, readme
from diffwave.listening.matching import match_items
from diffwave.listening.seeded_choice import Selection, select
from diffwave.listening.stimuli import Recipe, Sound
from diffwave.listening.trials import Design, Trials, arrange, blinded, make_secret, public_hash

# About what a browser takes without a complaint, and a mail server does not.
_LARGE_PAGE_BYTES = 60 << 20
_NARROW_RATE = 16000


@dataclass(frozen=True)
class Export:
    """What was written.

    Args:
        test: the test.
        folder: its folder.
        page_bytes: size of ``index.html``.
        notes: what the experimenter should know, a line each.
    """

    test: ListeningTest
    folder: Path
    page_bytes: int
    notes: list[str] = field(default_factory=list)


def export(settings: ExportSettings, tell: Callable[[str], None] = lambda _: None) -> Export:
    """Make a listening test.

    Args:
        settings: what to export.
        tell: called with the name of each utterance that was prepared.

    Raises:
        ListeningError: if the settings or the folders do not allow it; nothing is written then.
        OSError: if the output cannot be written.
    """
    anchors, pairs = check(settings)
    items, notes = match_items(settings.reference, settings.systems)
    recipe = Recipe(settings.max_seconds, anchors, settings.loudness)
    gold_anchor = MNRU_NAME if settings.method == "acr" else ""
    selection = select(items, settings.items, settings.seed, recipe, gold_anchor, tell)
    notes += selection.notes
    if not selection.training_is_apart:
        notes.append("no utterance is left for training: the training page uses one of the test")
    rate = selection.training.sounds[0].sample_rate
    if ANCHOR70_NAME in anchors and rate <= _NARROW_RATE:
        notes.append(f"anchor70 has nearly everything that there is at {rate} Hz: listeners will hardly hear it")
    secret = make_secret(settings.seed, [settings.method.encode(), *_sources(selection)])
    trials = arrange(Design(settings.method, pairs, secret), selection.items, selection.training, selection.gold)
    test = _test(settings, trials, secret, selection)
    with _whole_folder(settings.output, settings.force) as folder:
        page_bytes = _write(folder, settings, test, trials, selection, notes)
    if page_bytes > _LARGE_PAGE_BYTES:
        notes.append(f"index.html has {page_bytes >> 20} MB: fewer --items make it easier to send")
    return Export(test, settings.output, page_bytes, notes)


def _sources(selection: Selection) -> list[bytes]:
    """Names and contents of the files that stimuli were made from."""
    parts = []
    for prepared in [*selection.items, selection.training, *selection.gold]:
        for sound in prepared.sounds:
            content = hashlib.sha256(Path(sound.source).read_bytes()).digest()
            parts += [prepared.item.name.encode(), sound.name.encode(), content]
    return parts


def _test(settings: ExportSettings, trials: Trials, secret: bytes, selection: Selection) -> ListeningTest:
    return ListeningTest(
        test_id=settings.name or f"listen-{settings.method}-{public_hash(secret, 'name')[:8]}",
        title=settings.title,
        method=settings.method,
        seed=settings.seed,
        order_seed=public_hash(secret, "order"),
        sample_rate=selection.training.sounds[0].sample_rate,
        trials=trials.trials,
        training=trials.training,
        volume=trials.volume,
        package_version=diffwave.__version__,
        stimuli=trials.stimuli,
    )


@contextlib.contextmanager
def _whole_folder(output: Path, force: bool) -> Iterator[Path]:
    """Yield a folder beside ``output`` that takes its place at the end, or vanishes if the block raises."""
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name[:40]}."))
    new, old = temporary / "new", temporary / "old"
    try:
        new.mkdir()
        yield new
        check_output(output, force)  # someone else may have come first
        if output.exists():
            output.replace(old)
        new.replace(output)
    finally:
        if old.exists() and not output.exists():
            old.replace(output)
        shutil.rmtree(temporary, ignore_errors=True)


def _write(
    folder: Path, settings: ExportSettings, test: ListeningTest, trials: Trials, selection: Selection, notes: list[str]
) -> int:
    """Write everything into ``folder``; adds to ``notes`` and returns the size of the page."""
    from diffwave.listening.sheet_page import build_page

    sheet = blinded(test)
    audio = {stimulus.stimulus: encode(trials.sounds[stimulus.stimulus], "FLAC") for stimulus in sheet.stimuli}
    page = build_page(sheet, audio).encode()
    (folder / "index.html").write_bytes(page)
    configurations = webmushra.configurations(test)
    if configurations:
        configs = folder / "webmushra" / "configs"
        _write_wavs(configs / test.test_id / "audio", webmushra.used_stimuli(test), trials.sounds)
        for name, text in configurations.items():
            (configs / name).write_text(text, encoding="utf-8")
    else:
        notes.append(f"webMUSHRA cannot run {test.method}: no webmushra/ folder")
    has_p808 = _write_p808(folder / "p808", settings, test, trials, selection, notes)
    _write_private(folder / PRIVATE, test, trials.sounds)
    (folder / "README.md").write_text(readme(test, list(configurations), has_p808), encoding="utf-8")
    return len(page)


def _write_p808(
    folder: Path, settings: ExportSettings, test: ListeningTest, trials: Trials, selection: Selection, notes: list[str]
) -> bool:
    if test.method not in p808.P808_METHODS:
        return False
    order = list(settings.systems)
    obstacle = p808.obstacle(test, order)
    if obstacle:
        notes.append(f"{obstacle}: no p808/ folder")
        return False
    _write_wavs(folder / "audio", p808.clips(test, trials.extra), trials.sounds)
    for name, text in p808.tables(test, settings.base_url, trials.extra, order).items():
        (folder / name).write_text(text, encoding="utf-8")
    text = p808_readme(p808.P808_METHODS[test.method], settings.base_url, selection.gold_is_apart)
    (folder / "README.md").write_text(text, encoding="utf-8")
    return True


def _write_private(folder: Path, test: ListeningTest, sounds: Mapping[str, Sound]) -> None:
    folder.mkdir()
    write_documents(folder, test)
    items = {stimulus.item for stimulus in test.stimuli}
    stems = {PurePosixPath(item).name for item in items}
    for stimulus in test.stimuli:
        # Programs that take <system>/<utterance>.wav want no folders below, where names allow it.
        name = PurePosixPath(stimulus.item).name if len(stems) == len(items) else stimulus.item
        path = folder / "stimuli" / stimulus.system / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(sounds[stimulus.stimulus], "WAV"))


def _write_wavs(folder: Path, stimuli: list[str], sounds: Mapping[str, Sound]) -> None:
    folder.mkdir(parents=True)
    for name in stimuli:
        (folder / f"{name}.wav").write_bytes(encode(sounds[name], "WAV"))


def encode(sound: Sound, container: str) -> bytes:
    """A sound as the bytes of a 16-bit file without any tags.

    Args:
        sound: what to encode.
        container: ``WAV`` or ``FLAC``.
    """
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, sound.samples, sound.sample_rate, format=container, subtype="PCM_16")
    return buffer.getvalue()
