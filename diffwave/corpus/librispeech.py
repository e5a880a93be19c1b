"""Bring subsets of LibriSpeech (openslr.org/12) into a root, whole or not at all.

``torchaudio.datasets.LIBRISPEECH`` knows the checksums and extracts the archives. Its own download cannot go on after a
break and takes an archive that is already there as it is; so archives are fetched by :mod:`diffwave.corpus.download`,
and extraction happens in a folder of its own, from which a subset is moved when it is complete.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from diffwave.audio.file import import_torchaudio
from diffwave.config import ConfigError
from diffwave.corpus.download import PAUSES, fetch, remote_size
from diffwave.corpus.lock import alone_in

MIRROR = "https://www.openslr.org/resources/12"
SUBSETS = (
    "dev-clean",
    "dev-other",
    "test-clean",
    "test-other",
    "train-clean-100",
    "train-clean-360",
    "train-other-500",
)
# Hidden, and below the root: on the same file system, so that moving a subset is one step.
_STAGING = ".download"
_FOLDER = "LibriSpeech"  # in the archives
_KEY = "http://www.openslr.org/resources/12/{}.tar.gz"  # of torchaudio's checksums
_EXTRACTED = 1.1  # FLAC does not get smaller in an archive, only the transcripts do


def download(
    root: Path, subsets: Sequence[str], mirror: str = MIRROR, keep: bool = False, pauses: Sequence[float] = PAUSES
) -> list[str]:
    """Download and extract the subsets that are not there yet.

    Args:
        root: of LibriSpeech, made if missing; ``root/train-clean-100`` and so on come to be.
        subsets: by name.
        mirror: address of the folder of the archives.
        keep: whether archives stay, in ``root/.download``.
        pauses: seconds to wait after failed attempts.

    Returns:
        The names of those that came.

    Raises:
        ConfigError: if a name is unknown, there is too little space, or a download fails for good.
        OSError: if the root cannot be written.
    """
    unknown = [name for name in subsets if name not in SUBSETS]
    if unknown:
        raise ConfigError(f"--download: expected subsets ({', '.join(SUBSETS)}); got {unknown[0]!r}")
    # Moved into the root in one step, a folder that is there is whole.
    missing = [name for name in dict.fromkeys(subsets) if not (root / name).is_dir()]
    if not missing:
        return []
    staging = root / _STAGING
    staging.mkdir(parents=True, exist_ok=True)
    urls = {name: f"{mirror.rstrip('/')}/{name}.tar.gz" for name in missing}
    with alone_in(staging):
        _check_space(staging, urls, keep)
        for name, url in urls.items():
            archive = staging / f"{name}.tar.gz"
            fetch(url, archive, _checksum(name), pauses)
            _extract(root, staging, name)
            if not keep:
                archive.unlink()
    if not keep:
        # What was set aside as .bad stays.
        shutil.rmtree(staging / _FOLDER, ignore_errors=True)
        if not any(staging.iterdir()):
            staging.rmdir()
    return missing


def _checksum(name: str) -> str:
    import_torchaudio()
    from torchaudio.datasets import librispeech

    checksum: str = librispeech._CHECKSUMS[_KEY.format(name)]
    return checksum


def _check_space(staging: Path, urls: dict[str, str], keep: bool) -> None:
    """Refuse to begin what cannot end: the disk must hold what is extracted, beside the archives."""
    sizes = {name: remote_size(url) for name, url in urls.items()}
    archives = sum(sizes.values()) if keep else max(sizes.values())
    there = sum(path.stat().st_size for name in urls for path in staging.glob(f"{name}.tar.gz*"))
    needed = int(archives + _EXTRACTED * sum(sizes.values())) - there
    free = shutil.disk_usage(staging).free
    if needed > free:
        names = ", ".join(urls)
        raise ConfigError(
            f"--root {staging.parent}: expected {needed / 1e9:.1f} GB of free space for {names} (archives and what is "
            f"in them); got {free / 1e9:.1f} GB"
        )


def _extract(root: Path, staging: Path, name: str) -> None:
    """Extract an archive beside the root's subsets, then move the subset among them."""
    import tarfile
    import zlib

    extracted = staging / _FOLDER
    # Left by a run that was killed: LIBRISPEECH would take half a subset for the whole.
    shutil.rmtree(extracted, ignore_errors=True)
    try:
        import_torchaudio().datasets.LIBRISPEECH(staging, name, download=True)
    except (tarfile.TarError, zlib.error, EOFError) as error:
        raise ConfigError(f"{name}.tar.gz: expected an archive; it cannot be extracted ({error})") from None
    if not (extracted / name).is_dir():
        raise ConfigError(f"{name}.tar.gz: expected {_FOLDER}/{name} in the archive; there is none")
    for text in extracted.glob("*.TXT"):  # SPEAKERS.TXT, LICENSE.TXT: they belong to the corpus
        text.replace(root / text.name)
    (extracted / name).rename(root / name)
