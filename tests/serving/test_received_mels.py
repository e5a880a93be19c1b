"""Mels from strangers."""

from __future__ import annotations

import io
import json
import pickle
import struct
import threading
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffwave.serving import received_mels as mels
from diffwave.serving.limits import RefusedError
from diffwave.serving.received_mels import Rows, mel_from_json, mel_from_npy
from services import npy

MEL = np.arange(12, dtype=np.float32).reshape(3, 4)


def header(text: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    """A ``.npy`` file with any header."""
    size = struct.pack("<H" if version[0] == 1 else "<I", len(text))
    return b"\x93NUMPY" + version + size + text.encode("latin1") + data


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2", "<i2", ">i8", "|u1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_kind_of_real_number(dtype: str, order: str) -> None:
    mel = mel_from_npy(npy(np.array(MEL, dtype=dtype, order=order)))
    np.testing.assert_array_equal(mel.numpy(), MEL)
    assert mel.numpy().dtype == np.float32


def test_a_leading_axis_of_one_is_dropped() -> None:
    assert mel_from_npy(npy(MEL[None])).shape == (3, 4)


class Evil:
    """Unpickling it is noticed."""

    loaded = False

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (setattr, (Evil, "loaded", True))


def test_nothing_is_unpickled() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Evil()], dtype=object), allow_pickle=True)
    with pytest.raises(RefusedError, match="never loaded"):
        mel_from_npy(buffer.getvalue())
    assert not Evil.loaded
    np.load(io.BytesIO(buffer.getvalue()), allow_pickle=True)
    assert Evil.loaded, "the test's own object does nothing when it is unpickled"
    Evil.loaded = False


@pytest.mark.parametrize(
    "data",
    [
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (80, 1000000000000), }", b"\0" * 64),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -16), }", b"\0" * 64),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (4, 5), }", b"\0" * 64),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (4, 3), }", b"\0" * 64),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (), }", b"\0" * 4),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2, 2, 2), }", b"\0" * 64),
        header("{'descr': '<c8', 'fortran_order': False, 'shape': (2, 4), }", b"\0" * 64),
        header("{'descr': '<f16', 'fortran_order': False, 'shape': (2, 2), }", b"\0" * 64),
        header("{'descr': '|b1', 'fortran_order': False, 'shape': (8, 8), }", b"\0" * 64),
        header("{'descr': '<M8[s]', 'fortran_order': False, 'shape': (2, 4), }", b"\0" * 64),
        header("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4, 4), }", b"\0" * 64),
        header("{'descr': '|V0', 'fortran_order': False, 'shape': (4, 4), }"),
        header("{'descr': '|O', 'fortran_order': False, 'shape': (2, 4), }", pickle.dumps([1])),
        header("{'descr': '<f4', 'fortran_order': False}", b"\0" * 64),
        header("__import__('os').system('true')", b"\0" * 64),
        header("(" * 9000, b""),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (4, 4), }" + " " * 20000, b"\0" * 64),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (4, 4), }", b"\0" * 64, b"\x09\x00"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (4, 4), }", b"\0" * 64, b"\x03\x00"),
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff",
        b"\x93NUMPY",
    ],
)
def test_a_hostile_header_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(RefusedError) as refused:
        mel_from_npy(data)
    assert refused.value.status == 422
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_every_truncation_is_refused() -> None:
    data = npy(MEL)
    for length in range(len(data)):
        with pytest.raises(RefusedError):
            mel_from_npy(data[:length])


def test_headers_are_read_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at once can end in a SystemError of CPython 3.11, about once in a thousand."""
    inside: list[int] = []
    most: list[int] = []

    def read(file: Any, **options: Any) -> Any:
        inside.append(1)
        time.sleep(0.01)
        most.append(len(inside))
        inside.pop()
        return np.lib.format.read_array_header_1_0(file, **options)

    monkeypatch.setitem(mels._VERSIONS, (1, 0), read)
    threads = [threading.Thread(target=mel_from_npy, args=(npy(MEL),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert most == [1, 1, 1, 1]


def test_json() -> None:
    np.testing.assert_array_equal(mel_from_json(json.dumps({"mel": MEL.tolist()}).encode()).numpy(), MEL)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"mel": [[1]], "more": 1}',
        '{"mel": 3}',
        '{"mel": [[1, 2], [3]]}',
        '{"mel": [["1", "2"]]}',
        '{"mel": [[true, false]]}',
        '{"mel": [[null]]}',
        '{"mel": {"a": 1}}',
        '{"mel": [[' + "9" * 5000 + "]]}",
        '{"mel": [[' + "9" * 400 + "]]}",
        '{"mel": ' + "[" * 100_000,
        '{"mel": ' + "[" * 100 + "1" + "]" * 100 + "}",
        "\xff\xfe",
    ],
)
def test_other_json_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(RefusedError) as refused:
        mel_from_json(text.encode("latin1"))
    assert refused.value.status == 422
    assert "\n" not in str(refused.value)


@given(st.lists(st.integers(1, 40), max_size=20))
def test_rows_do_not_depend_on_how_they_are_cut(cuts: list[int]) -> None:
    frames = np.arange(35, dtype="<f4").reshape(7, 5)
    data, rows, parts = frames.tobytes(), Rows(5), []
    for cut in cuts:
        parts.append(rows.add(data[:cut]))
        data = data[cut:]
    parts.append(rows.add(data))
    rows.end()
    np.testing.assert_array_equal(np.concatenate([part.numpy() for part in parts], axis=1), frames.T)


def test_a_frame_that_is_cut_off_is_refused() -> None:
    rows = Rows(5)
    rows.add(b"\0" * 39)
    with pytest.raises(RefusedError, match="20 bytes; the last one has 19"):
        rows.end()
