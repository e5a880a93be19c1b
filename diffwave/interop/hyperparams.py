"""Plain values of SpeechBrain's ``hyperparams.yaml``, without its tags.

HyperPyYAML makes objects of tags such as ``!new:`` and ``!apply:``, which runs whatever the file names. Here the file
is only parsed: tagged values are skipped, and of its references ``!ref <name>`` is followed.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import yaml

from diffwave.checkpoint.folder import CheckpointError

_LARGEST_BYTES = 1 << 20
_REFERENCE = re.compile(r"<(\w+)>")
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}
_PLAIN = (
    "tag:yaml.org,2002:"  # of values without a tag of their own; "!!python/..." has it too, and goes on with python/
)


def read_hyperparams(path: Path) -> dict[str, Any]:
    """Numbers, texts, truth values, nothings and lists of them on the file's first level, by name.

    Args:
        path: of the YAML file.

    Raises:
        CheckpointError: if it cannot be read or is no YAML mapping.
    """
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise CheckpointError(f"{path}: expected settings of at most {_LARGEST_BYTES >> 20} MiB; it is larger")
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except CheckpointError:
        raise
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:160]
        raise CheckpointError(f"{path}: expected SpeechBrain's settings in YAML; {reason}") from None
    if not isinstance(root, yaml.MappingNode):
        raise CheckpointError(f"{path}: expected SpeechBrain's settings in YAML, names with values; got something else")
    nodes = {str(name.value): node for name, node in root.value}
    found = {}
    for name, node in nodes.items():
        match = _REFERENCE.fullmatch(str(node.value)) if node.tag == "!ref" else None
        meant = nodes.get(match.group(1)) if match else node
        if meant is not None and _is_plain(meant):
            found[name] = _value(meant)
    return found


def _is_plain(node: Any) -> bool:
    if isinstance(node, yaml.SequenceNode):
        return node.tag == _PLAIN + "seq" and all(isinstance(i, yaml.ScalarNode) and _is_plain(i) for i in node.value)
    return isinstance(node, yaml.ScalarNode) and node.tag.startswith(_PLAIN) and "/" not in node.tag


def _value(node: Any) -> Any:
    """As YAML 1.2 has it, which HyperPyYAML follows: there 1e-4 is a number, and yes is a word."""
    if isinstance(node, yaml.SequenceNode):
        return [_value(item) for item in node.value]
    text = str(node.value)
    if node.style is not None:  # in quotes
        return text
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for number in (int, float):
        with contextlib.suppress(ValueError):
            return number(text)
    return text
