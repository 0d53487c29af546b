"""JSON files of annotations: read with one error for whatever is wrong, and record by record where they are large."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from segnosis.core.errors import DataError

_LARGEST = 1 << 32
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()
Take = Callable[[str, Any, int, int], None]
"""Called with a list's name, an item of it, and the bytes of the file from which to which the item is written."""


def load(path: Path) -> Any:
    """The content of a small JSON file.

    Raises:
        DataError: It is missing, no JSON, or nested without end.
    """
    try:
        return json.loads(_bytes(path))
    except (OSError, ValueError, RecursionError) as error:
        raise broken(path, error) from error


def load_part(path: Path, start: int, end: int) -> Any:
    """The value written at bytes `start` to `end` of a file."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            return json.loads(file.read(end - start))
    except (OSError, ValueError, RecursionError, OverflowError) as error:
        raise broken(path, error) from error


def walk(path: Path, lists: Collection[str], take: Take) -> dict[str, Any]:
    """Go through the `lists` of a file's one object item by item; the other values are returned.

    So a file of a gigabyte is read without its items all being in memory, and an item can be found again by its bytes.

    Raises:
        DataError: It is missing, no JSON object, or `take` raises KeyError, TypeError or ValueError on an item.
    """
    rest: dict[str, Any] = {}
    try:
        # One byte is one letter in Latin-1, so that places in the text are places in the file.
        text = _bytes(path).decode("latin-1")
        at = _expect(text, _skip(text, 3 if text.startswith("ï»¿") else 0), "{")
        while text[at : at + 1] != "}":
            name, at = _DECODER.raw_decode(text, at)
            at = _expect(text, _skip(text, at), ":")
            if name in lists and text[at : at + 1] == "[":
                at = _skip(text, at + 1)
                while text[at : at + 1] != "]":
                    item, end = _DECODER.raw_decode(text, at)
                    take(name, utf8(item), at, end)
                    at = _comma(text, end, "]")
                at += 1
            else:
                rest[name], at = _DECODER.raw_decode(text, at)
            at = _comma(text, at, "}")
    except KeyError as error:
        raise broken(path, ValueError(f"an item of {', '.join(lists)} has no {error}")) from error
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise broken(path, error) from error
    return rest


def utf8(value: Any) -> Any:
    """Text read as Latin-1, as the UTF-8 it is; also within an object's own values."""
    if isinstance(value, str):
        try:
            return value if value.isascii() else value.encode("latin-1").decode("utf-8")
        except UnicodeError:
            return value
    if isinstance(value, dict):
        return {key: utf8(item) if isinstance(item, str) else item for key, item in value.items()}
    return value


def broken(path: Path, error: Exception) -> DataError:
    """The error of a file of annotations that is not what it should be."""
    problem = "nested too deep" if isinstance(error, RecursionError) else str(error) or type(error).__name__
    return DataError(
        "A file of annotations is whole JSON, as the tool that made it writes it.",
        file=path,
        received={"problem": problem[:300]},
        cure="Export it again, or copy it again from its source.",
    )


def _bytes(path: Path) -> bytes:
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"it is larger than {_LARGEST >> 30} GiB")
    return path.read_bytes()


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _expect(text: str, at: int, sign: str) -> int:
    if text[at : at + 1] != sign:
        raise ValueError(f"`{sign}` is missing at byte {at}")
    return _skip(text, at + 1)


def _comma(text: str, at: int, closing: str) -> int:
    at = _skip(text, at)
    if text[at : at + 1] == ",":
        return _skip(text, at + 1)
    if text[at : at + 1] != closing:
        raise ValueError(f"`,` or `{closing}` is missing at byte {at}")
    return at
