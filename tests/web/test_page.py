"""Pages that are one file: text stays text, pictures and sounds are inside."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
import soundfile
from matplotlib.figure import Figure

from diffwave.web import page as webpage
from diffwave.web.page import Raw

HOSTILE = "</title><script>alert(1)</script>\"'&"


@pytest.mark.parametrize(
    "made",
    [
        webpage.page(HOSTILE, []),
        webpage.escape(HOSTILE),
        webpage.heading(HOSTILE),
        webpage.paragraph(HOSTILE, "warn"),
        webpage.table([HOSTILE, "b"], [[HOSTILE, HOSTILE]]),
        webpage.details(HOSTILE, []),
        webpage.picture(Figure(), HOSTILE, HOSTILE),
        webpage.player(np.zeros(100), 16000, HOSTILE),
    ],
)
def test_text_stays_text(made):
    assert "<script>" not in made
    assert '"\'&"' not in made
    assert "&lt;script&gt;" in made


def test_raw_html_is_left_alone():
    assert webpage.paragraph(Raw("<b>x</b>")) == "<p><b>x</b></p>"
    assert "<td><i>y</i></td>" in webpage.table(["a"], [[Raw("<i>y</i>")]])


def test_a_page_forbids_itself_the_network():
    made = webpage.page("title", ["<p>body</p>"])
    assert "default-src 'none'" in made
    assert "connect-src" not in made
    assert not re.search(r"https?://", made)
    assert made.index("Content-Security-Policy") < made.index("<style>")


def test_a_row_as_long_as_the_header_is_expected():
    assert webpage.table(["a", "b"], []).count("<th") - 1 == 2  # and <thead>
    assert webpage.table(["a", "b"], [["1", "2"]]).count('class="number"') == 2
    assert "number" not in webpage.table(["a", "b"], [["1", "2"]], numbers=False)


def test_a_player_holds_the_samples():
    wav = np.sin(np.arange(1600) / 10) * 1.5
    source = re.search(r"base64,([^\"]+)", webpage.player(wav, 8000, "x"))
    assert source is not None
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(source[1])))
    assert rate == 8000
    assert np.allclose(samples, np.clip(wav, -1, 1), atol=1e-4)


def test_a_picture_is_the_same_bytes_every_time():
    def draw() -> str:
        figure = Figure()
        figure.subplots().plot([1, 2])
        return webpage.picture(figure, "x")

    assert draw() == draw()
    assert re.search(r'src="data:image/png;base64,iVBOR', draw())
