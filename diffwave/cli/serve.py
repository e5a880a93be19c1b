"""``diffwave serve``: the vocoder as a small HTTP service."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from diffwave.cli.vocoder_arguments import add_backend, add_checkpoint, add_mel
from diffwave.terminal.arguments import CommandParser, count_argument, device_argument, port_argument, seconds_argument

if TYPE_CHECKING:
    import socket

    from diffwave.serving.limits import Limits

_GPU_BATCH_SECONDS = 120.0
_DESCRIPTION = """Serve the vocoder over HTTP: mels or recordings in, speech out, whole or as a stream.

The address is printed once requests are answered; that page says how to ask. SIGTERM or Ctrl-C finishes what runs."""


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    result = CommandParser(prog="diffwave serve", description=_DESCRIPTION)
    add = result.add_argument
    add("--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1, this machine only)")
    add("--port", type=port_argument, default=8000, help="port; 0 takes a free one (default: 8000)")
    add_checkpoint(result)
    add_mel(result, "convention of mels whose request names none (default: the checkpoint's; diffwave mels lists them)")
    add("--device", type=device_argument, default="auto", metavar="auto|cpu|cuda", help="default: auto")
    add_backend(result)
    add("--max-seconds", type=seconds_argument, metavar="S", default=60.0, help="longest utterance (default: 60)")
    add(
        "--max-stream-seconds",
        type=seconds_argument,
        metavar="S",
        default=600.0,
        help="longest utterance of a stream (default: 600)",
    )
    add("--max-body", type=count_argument, default=32, metavar="MIB", help="largest body (default: 32)")
    memory = "bodies and inputs of all requests together (default: 256)"
    add("--max-in-flight", type=count_argument, default=256, metavar="MIB", help=memory)
    add("--max-steps", type=count_argument, default=50, metavar="N", help="most network calls (default: 50)")
    add("--max-queue", type=count_argument, default=128, metavar="N", help="requests that may wait (default: 128)")
    add("--max-streams", type=count_argument, default=4, metavar="N", help="streams at once (default: 4)")
    add(
        "--timeout",
        type=seconds_argument,
        metavar="S",
        default=120.0,
        help="for a request, from its first byte on (default: 120)",
    )
    idle = "longest silence in a body that arrives (default: 20)"
    add("--idle-timeout", type=seconds_argument, metavar="S", default=20.0, help=idle)
    batch = "audio synthesized at once, 0 for one request at a time (default: 4 on a CPU, 120 on a GPU)"
    add("--batch-seconds", type=_batch_argument, metavar="S", help=batch)
    add("--shutdown-seconds", type=count_argument, default=30, metavar="S", help="for what runs at the end (30)")
    add("--access-log", action="store_true", help="log every request on stderr")
    return result


def main(arguments: list[str]) -> int:
    """Serve until interrupted; returns 0."""
    options = parser().parse_args(arguments)
    from diffwave.serving import check_installed

    check_installed()
    from diffwave.serving.server import open_port

    bound = open_port(options.host, options.port)
    try:
        _serve(options, bound)
    except KeyboardInterrupt:
        pass
    finally:
        bound.close()
    return 0


def _serve(options: argparse.Namespace, bound: socket.socket) -> None:
    from diffwave.mel.spectrogram import MelWarning
    from diffwave.serving.server import serve, url_of
    from diffwave.serving.service import Service
    from diffwave.vocoder import Vocoder
    from diffwave.web.addresses import is_loopback

    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    warnings.simplefilter("ignore", MelWarning)  # mels of strangers are refused, recordings may be strange
    vocoder = Vocoder.from_pretrained(
        options.checkpoint, options.device, options.backend, options.precision, mel=options.mel
    )
    # The name alone: where the folder lies on this machine is nobody's business.
    name = Path(options.checkpoint).expanduser().resolve().name
    service = Service(vocoder, name, _limits(options, vocoder.device.type))
    url = url_of(bound)

    def ready() -> None:
        print(f"serving at {url}", flush=True)
        if not is_loopback(str(bound.getsockname()[0])):
            print(
                f"diffwave serve: everybody who reaches {options.host}:{bound.getsockname()[1]} over the network can "
                "use this service, without encryption and without a password",
                file=sys.stderr,
            )

    serve(service, bound, ready, options.shutdown_seconds, options.access_log)


def _limits(options: argparse.Namespace, device: str) -> Limits:
    from diffwave.serving.limits import MIB, Limits

    batch = options.batch_seconds
    if batch is None:
        batch = _GPU_BATCH_SECONDS if device == "cuda" else Limits.batch_seconds
    return Limits(
        audio_seconds=options.max_seconds,
        stream_audio_seconds=options.max_stream_seconds,
        body_bytes=options.max_body * MIB,
        bytes_in_flight=options.max_in_flight * MIB,
        queue=options.max_queue,
        streams=options.max_streams,
        request_seconds=options.timeout,
        idle_seconds=options.idle_timeout,
        steps=options.max_steps,
        batch_seconds=batch,
    )


def _batch_argument(text: str) -> float:
    return 0.0 if text == "0" else seconds_argument(text)
