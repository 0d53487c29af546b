"""Programs as people write them: the scripts in `people`, as they are and with what people get wrong in them.

Beside each script lies a table of edits, `[name]` with the codes deserved (alternatives of one fault joined by `|`,
none where the edit is harmless) and the texts that stand in place of others.
"""

from __future__ import annotations

import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import keras
from benchmarks.doctor.folders import write_all
from benchmarks.doctor.pictures import REAL_DATA
from keras.src.backend.common import global_state

from segnosis.doctor.backend_choice import chosen_backend

PEOPLE = Path(__file__).with_name("people")
REAL = {"membranes_tape": "em_membrane"}
"""Scripts that read real data → its folder beside the checkout; left out where it is absent."""


@dataclass(frozen=True)
class Written:
    """One script with one edit: an entry of the table like `recipe.Program`.

    Attributes:
        author: File name of the script, without ending.
        edit: Name of what is changed in it.
        groups: One tuple per planted fault: its code, then codes that name the same thing rightly. Empty if harmless.
        changes: Texts of the script, each with what stands in its place.
    """

    author: str
    edit: str = "as_it_is"
    groups: tuple[tuple[str, ...], ...] = ()
    changes: tuple[tuple[str, str], ...] = ()
    after: bool = False
    held_out: bool = False

    @property
    def name(self) -> str:
        return f"{self.author}+{self.edit}"

    @property
    def codes(self) -> tuple[str, ...]:
        return tuple(group[0] for group in self.groups)

    @property
    def backend(self) -> str | None:
        """The backend that the script chooses itself."""
        return chosen_backend(PEOPLE / f"{self.author}.py")

    @property
    def kind(self) -> str:
        """`"healthy"` or `"planted"`."""
        return "planted" if self.groups else "healthy"

    def text(self) -> str:
        """The script with the edit in it.

        Raises:
            ValueError: A text to be changed is not in the script.
        """
        script = (PEOPLE / f"{self.author}.py").read_text()
        for old, new in self.changes:
            if old not in script:
                raise ValueError(f"{self.name}: {old!r} is not in the script.")
            script = script.replace(old, new)
        return script

    @contextmanager
    def script(self, twin: bool = False) -> Iterator[tuple[Path, list[str]]]:
        """The file to run and its arguments, in a folder of its own that has the data, as the working directory."""
        with tempfile.TemporaryDirectory() as folder, chdir(folder):
            for data in _data().iterdir():
                Path(data.name).symlink_to(data)
            file = Path(f"{self.author}.py")
            file.write_text((Written(self.author) if twin else self).text())
            floatx, policy = keras.config.floatx(), global_state.get_global_attribute("dtype_policy")
            global_state.set_global_attribute("dtype_policy", None)  # as in a process of its own
            try:
                yield file, []
            finally:
                keras.config.set_floatx(floatx)
                global_state.set_global_attribute("dtype_policy", policy)


@cache
def _data() -> Path:
    folder = tempfile.mkdtemp(prefix="segnosis-people-")  # as long as the process lives; the system clears it
    write_all(Path(folder))
    for real in REAL.values():
        Path(folder, real).symlink_to(REAL_DATA / real)
    return Path(folder)


@cache
def written() -> tuple[Written, ...]:
    """Every script, as it is and with each edit."""
    found: list[Written] = []
    for file in sorted(PEOPLE.glob("*.py")):
        if file.stem in REAL and not (REAL_DATA / REAL[file.stem]).is_dir():
            continue
        found.append(Written(file.stem))
        for name, edit in tomllib.loads(file.with_suffix(".toml").read_text()).items():
            groups = tuple(tuple(code.split("|")) for code in edit["codes"].split())
            found.append(Written(file.stem, name, groups, tuple(map(tuple, edit["changes"]))))
    return tuple(found)
