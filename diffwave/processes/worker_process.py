"""A worker process: one job after the other, until nobody is there to ask. What a job raises ends the process.

It imports nothing but what it is told to do needs, and reads nothing of the script that started it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from multiprocessing.connection import Connection
from typing import Any

from diffwave.processes.messages import Done, Refusal, Said, Stage, Work


def main() -> None:
    """Work on the connection whose number is the only argument."""
    # Ctrl-C is for the process that supervises this one; what came before now has waited.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    end_with_parent()
    number = int(sys.argv[1])
    os.set_inheritable(number, False)  # programs that a job starts must not keep it open
    connection = Connection(number)
    _send(connection, Stage.AWAKE)
    try:
        work: Work[Any] = _receive(connection)()
    except Refusal as refusal:
        _send(connection, refusal)
        return
    _send(connection, Stage.READY)
    while True:
        _send(connection, Done(work(_receive(connection), lambda said: _send(connection, Said(said)))))


def end_with_parent() -> None:
    """Ask the system to end this process when its parent ends, also in the middle of a job (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _send(connection: Connection, message: object) -> None:
    try:
        connection.send(message)
    except ConnectionError:
        sys.exit()


def _receive(connection: Connection) -> Any:
    try:
        return connection.recv()
    except (EOFError, ConnectionError):
        sys.exit()


if __name__ == "__main__":
    main()
