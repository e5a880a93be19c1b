"""Reports as one HTML file that opens offline: text, tables, pictures and players, all inside the file."""

from __future__ import annotations

import base64
import html
import io
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2329; --soft: #5c6873; --line: #d8dee4; --paper: #ffffff; --band: #f4f6f8;
  --accent: #24577a; --warn: #a2432d; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ec; --soft: #9aa7b3; --line: #38424c; --paper: #14181c;
  --band: #1d2329; --accent: #7fb4d8; --warn: #e58a70; } figure img { background: #fff; border-radius: 6px; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; margin: .2em 0 .4em; } h2 { font-size: 1.25rem; margin: 2.2em 0 .5em; }
h3 { font-size: 1.02rem; margin: 1.4em 0 .4em; }
p.lead { color: var(--soft); max-width: 60rem; } p { max-width: 60rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .38rem .7rem; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
th { font-weight: 600; border-bottom: 2px solid var(--line); } td.number, th.number { text-align: right; }
tbody tr:nth-child(even), tbody tr:nth-child(even) > :first-child { background: var(--band); }
th:first-child, td:first-child { position: sticky; left: 0; background: var(--paper); }
table.text td { white-space: normal; min-width: 7rem; overflow-wrap: anywhere; }
small, .soft { color: var(--soft); } .warn { color: var(--warn); font-weight: 600; }
figure { margin: 1rem 0; } figure img { max-width: 100%; height: auto; display: block; }
figure.wide { overflow-x: auto; } figure.wide img { min-width: 46rem; }
figcaption { color: var(--soft); font-size: .9rem; }
audio { width: 100%; max-width: 22rem; height: 2.2rem; display: block; }
.cards { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(22rem, 100%), 1fr)); }
.card { border: 1px solid var(--line); border-radius: 8px; padding: .8rem 1rem; }
details { margin: .6rem 0; } summary { cursor: pointer; color: var(--accent); }
"""


@dataclass(frozen=True)
class Raw:
    """Text that is HTML already; everything else is escaped."""

    html: str


def page(title: str, body: Iterable[str]) -> str:
    """A whole document.

    Args:
        title: plain text; also the heading.
        body: HTML, made with the functions below.
    """
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            # Nothing in a report needs the network, so nothing in it may use it.
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
            'img-src data:; media-src data:">',
            f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{html.escape(title)}</h1>",
            *body,
            "</body></html>",
            "",
        ]
    )


def escape(text: str) -> str:
    """Plain text as HTML."""
    return html.escape(text)


def heading(text: str, level: int = 2) -> str:
    """A heading of plain text."""
    return f"<h{level}>{html.escape(text)}</h{level}>"


def paragraph(text: str | Raw, kind: str = "") -> str:
    """A paragraph of plain text; ``kind`` is "", "lead", "soft" or "warn"."""
    return f'<p class="{kind}">{_cell(text)}</p>' if kind else f"<p>{_cell(text)}</p>"


def table(header: Sequence[str | Raw], rows: Iterable[Sequence[str | Raw]], numbers: bool = True) -> str:
    """A table that scrolls by itself on a narrow screen.

    With ``numbers``, all but the first column align right; without, cells are text whose lines break.
    """

    def line(tag: str, cells: Sequence[str | Raw]) -> str:
        kinds = ["", *[' class="number"' if numbers else ""] * (len(cells) - 1)]
        return "".join(f"<{tag}{kind}>{_cell(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))

    body = "".join(f"<tr>{line('td', row)}</tr>" for row in rows)
    kind = "" if numbers else ' class="text"'
    head = f"<thead><tr>{line('th', header)}</tr></thead>"
    return f'<div class="scroll"><table{kind}>{head}<tbody>{body}</tbody></table></div>'


def details(summary: str, body: Iterable[str]) -> str:
    """HTML that is folded away behind a line of plain text."""
    return f"<details><summary>{html.escape(summary)}</summary>{''.join(body)}</details>"


def picture(figure: Figure, description: str, caption: str = "", wide: bool = False) -> str:
    """A matplotlib figure as a PNG inside the page; ``description`` is for those who do not see it.

    A ``wide`` picture scrolls on a narrow screen instead of shrinking until nothing can be read.
    """
    data = base64.b64encode(png(figure)).decode()
    text = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    kind = ' class="wide"' if wide else ""
    return f'<figure{kind}><img alt="{html.escape(description)}" src="data:image/png;base64,{data}">{text}</figure>'


def png(figure: Figure) -> bytes:
    """A matplotlib figure as PNG, without date and version: the same figures give the same bytes."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A name in a script that no installed font has is drawn as boxes; the tables have it right.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def player(wav: np.ndarray, sample_rate: int, label: str) -> str:
    """A player of samples ``[N]`` in ``[-1, 1]``, as FLAC inside the page."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(wav, -1, 1), sample_rate, format="FLAC", subtype="PCM_16")
    data = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<audio controls preload="none" aria-label="{html.escape(label)}" src="data:audio/flac;base64,{data}"></audio>'
    )


def _cell(text: str | Raw) -> str:
    return text.html if isinstance(text, Raw) else html.escape(text)
