"""Class names from a file beside the data: lists of names, colour tables, JSON label maps."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable

from segnosis.data.readers.base import Folder

_LISTS = ("classes.txt", "class_names.txt", "labels.txt", "codes.txt", "names.txt", "label_names.txt")
_TABLES = (
    "labelmap.txt",
    "label_colors.txt",
    "label_colours.txt",
    "class_dict.csv",
    "_classes.csv",
    "classes.csv",
    "labels.csv",
)
_MAPS = (
    "classes.json",
    "labels.json",
    "label_map.json",
    "labelmap.json",
    "class_names.json",
    "id2label.json",
    "dataset.json",
)


def names(folder: Folder, files: Iterable[str]) -> dict[int, str]:
    """Stored value, or packed colour, → name, from the first customary file that can be read; else empty."""
    known = sorted(files, key=lambda path: (path.count("/"), path))
    for path in known:
        name = path.rsplit("/", 1)[-1].lower()
        text = folder.text(path) if name in _LISTS + _TABLES + _MAPS else ""
        found = _map(text) if name in _MAPS else _table(text) or (_list(text) if name in _LISTS else {})
        if found:
            return found
    return {}


def _list(text: str) -> dict[int, str]:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    numbered = [re.fullmatch(r"(\d+)\s*[:,;\t ]\s*(\S.*)", line) for line in lines]
    if lines and all(numbered):
        return {int(m[1]): m[2].strip() for m in numbered if m}
    if len(lines) < 2 or len(lines) > 254 or len(set(lines)) < len(lines) or any(len(line) > 80 for line in lines):
        return {}
    return dict(enumerate(lines))


def _table(text: str) -> dict[int, str]:
    """Lines of a name and three numbers (a colour), or of a number and a name under a header."""
    out: dict[int, str] = {}
    rows = [row for row in csv.reader(re.sub(r"[;:\t]+", ",", text).splitlines()) if row]
    for row in rows:
        if row[0].startswith("#"):
            continue
        cells = [cell.strip() for cell in row]
        if len(cells) == 1:
            cells = cells[0].split()
        elif any(len(cell.split()) == 3 for cell in cells):
            cells = [
                part for cell in cells for part in (cell.split() if re.fullmatch(r"\d+ +\d+ +\d+", cell) else [cell])
            ]
        numbers = [int(cell) for cell in cells if cell.isdecimal() and len(cell) < 6]
        words = [cell for cell in cells if cell and not cell.isdecimal()]
        if not words or not numbers:
            continue
        if len(numbers) >= 3 and max(numbers[-3:]) <= 255:
            red, green, blue = numbers[-3:]
            out[red << 16 | green << 8 | blue] = words[0]
        elif len(numbers) == 1 and len(cells) == 2:
            out[numbers[0]] = words[0]
    return out if len(out) > 1 else {}


def _map(text: str) -> dict[int, str]:
    try:
        data = json.loads(text)
    except ValueError:
        return {}
    if isinstance(data, dict):
        data = next((data[key] for key in ("labels", "classes", "id2label", "names") if key in data), data)
    if isinstance(data, list) and data and all(isinstance(item, str) for item in data):
        return dict(enumerate(data))
    if isinstance(data, dict):
        if data and all(str(key).isdecimal() and isinstance(value, str) for key, value in data.items()):
            return {int(key): value for key, value in data.items()}
        if data and all(isinstance(value, int) and not isinstance(value, bool) for value in data.values()):
            return {value: str(key) for key, value in data.items()}
    return {}
