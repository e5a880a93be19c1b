"""A process that holds one package; ``processes.py`` starts one for each, since two of them have the same name.

    python -P -m benchmarks.peers.runner {lmnt,vocos,hifigan,ours} --package FOLDER --threads N --device DEVICE --seed N

It answers each line of standard input, a request in JSON, with one line of JSON on standard output, and sleeps in
between. ``action`` is the name of a method of the package's class; what cannot be done is answered with ``error``.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.peers.lmnt import Lmnt
from benchmarks.peers.ours import Ours
from benchmarks.peers.vocoders import HifiGan, Vocos

PACKAGES = {"lmnt": Lmnt, "vocos": Vocos, "hifigan": HifiGan, "ours": Ours}


def main() -> None:
    """Load one package, then answer requests until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("role", choices=PACKAGES)
    parser.add_argument("--package", type=Path, required=True, help="folder that the package must come from")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a package prints is not an answer
    if options.role in ("lmnt", "ours"):
        import diffwave

        # Both have the same name: say so here rather than compare a package with itself.
        if not Path(diffwave.__file__).resolve().is_relative_to(options.package.resolve()):
            sys.exit(f"expected diffwave from {options.package}; got {diffwave.__file__}")
    package = PACKAGES[options.role](torch.device(options.device))
    for line in sys.stdin:
        print(json.dumps(answer(package, json.loads(line))), file=answers, flush=True)


def answer(package: object, request: dict[str, Any]) -> dict[str, Any]:
    """Do one request."""
    try:
        found: dict[str, Any] = getattr(package, request["action"])(request)
    except Exception as error:  # what a compiler raises is no business of a benchmark; it is told and left out
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    return found


if __name__ == "__main__":
    main()
