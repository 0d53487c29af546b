"""All programs of the table: faults, pairs of faults and oddities, crossed with ways of writing a program."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

import keras
import numpy as np
from benchmarks.doctor.recipe import Choices, Program, Recipe
from benchmarks.doctor.written import Written, written

WAYS = tuple(
    Choices(*way.split())
    for way in (
        "lesions unet arrays sigmoid binary keras",
        "organs subclassed tf.data linear ids keras",
        "street deeplab PyDataset softmax one-hot closure",
        "cells unet++ generator linear binary closure",
        "organs chain arrays softmax one-hot keras",
        "street unet generator linear ids class",
        "lesions deeplab tf.data sigmoid binary class",
        "cells subclassed PyDataset sigmoid binary closure",
        "organs unet++ generator softmax ids closure",
        "street chain tf.data softmax ids keras",
        "organs unet PyDataset linear one-hot class",
        "cells chain arrays linear binary keras",
        "fields residual DataLoader softmax ids name",
        "vessels nested from_generator sigmoid binary sum",
        "fields own_step arrays linear one-hot sum",
        "vessels residual steps linear binary class",
    )
)
REAL_WAYS = tuple(
    Choices(*way.split())
    for way in (
        "nuclei unet arrays sigmoid binary keras",
        "cardiac unet++ PyDataset linear ids keras",
        "voc deeplab tf.data softmax ids keras",
        "nuclei deeplab generator linear binary closure",
        "cardiac chain arrays softmax one-hot closure",
        "voc subclassed PyDataset linear ids class",
    )
)
# What a random composition chooses from, field by field; the second row of each was never shown to the doctor while its
# checks were mended.
TWO_CLASSES = ("lesions", "cells", "vessels", "nuclei", "membranes", "ultrasound")
CHOICES = {
    "data": (
        "lesions", "cells", "organs", "street", "vessels", "fields", "scans", "membranes", "nuclei", "cardiac", "voc"
    ),
    "network": (
        "unet", "unet++", "deeplab", "chain", "subclassed", "residual", "nested", "own_step", "pyramid", "attention"
    ),
    "feed": ("arrays", "PyDataset", "generator", "tf.data", "from_generator", "DataLoader", "steps", "grain"),
    "head": ("sigmoid", "softmax", "linear"),
    "target": ("binary", "ids", "one-hot"),
    "loss": ("keras", "name", "sum", "closure", "class", "two-faced"),
    "size": ("40", "48", "56", "64"),
}  # fmt: skip
HELD_OUT = {
    "data": ("aerial", "ultrasound"),
    "network": ("fcn", "mobile"),
    "feed": ("py_function",),
    "loss": ("combo",),
}

Change = Callable[[Recipe], None]
Fits = Callable[[Choices], bool]


@dataclass(frozen=True)
class Entry:
    """A fault, a pair of faults or an oddity, and the ways of writing in which it makes sense."""

    name: str
    change: Change
    fits: Fits
    codes: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    after: bool = False
    held_out: bool = False
    groups: tuple[tuple[str, ...], ...] = ()

    def program(self, way: Choices, seed: int) -> Program:
        held_out = self.held_out or any(getattr(way, field) in names for field, names in HELD_OUT.items())
        name = f"{self.name}@{way}#{seed}"
        groups = self.groups or tuple((code, *self.also) for code in self.codes)
        return Program(name, way, self.change, groups, seed, self.after, held_out)


FAULTS: list[Entry] = []
HEALTHY: list[Entry] = []
PAIRS: list[Entry] = []


def always(_: Choices) -> bool:
    return True


def binary(way: Choices) -> bool:
    return way.target == "binary"


def sigmoid(way: Choices) -> bool:
    return way.head == "sigmoid"


def softmax(way: Choices) -> bool:
    return way.head == "softmax"


def several(way: Choices) -> bool:
    return way.target != "binary"


def ids(way: Choices) -> bool:
    return way.target == "ids"


def one_hot(way: Choices) -> bool:
    return way.target == "one-hot"


def void(way: Choices) -> bool:
    return way.data in ("street", "voc")


def no_void(way: Choices) -> bool:
    return not void(way)


def stock(way: Choices) -> bool:
    return way.loss in ("keras", "name")


def own(way: Choices) -> bool:
    return not stock(way)


def probabilities(way: Choices) -> bool:
    return way.head != "linear"


def loads_itself(way: Choices) -> bool:
    """Whether batches are made in the user's own code."""
    return way.feed != "arrays"


def validated(way: Choices) -> bool:
    """Whether there is a `fit` to give validation data to."""
    return way.feed != "steps"


def functional(way: Choices) -> bool:
    """Whether the layers are in the model itself, one after the other."""
    return way.network not in ("subclassed", "own_step", "nested", "attention", "fcn")


def many_classes(way: Choices) -> bool:
    return way.data not in TWO_CLASSES


def both(*needs: Fits) -> Fits:
    return lambda way: all(need(way) for need in needs)


def planted(
    *codes: str, where: Fits = always, also: tuple[str, ...] = (), after: bool = False, held_out: bool = False
) -> Callable[[Change], Change]:
    """Note a function that plants a fault deserving `codes`, the cause first."""

    def note(change: Change) -> Change:
        FAULTS.append(Entry(change.__name__, change, where, codes, also, after, held_out))
        return change

    return note


def healthy(where: Fits = always, *, held_out: bool = False) -> Callable[[Change], Change]:
    """Note a function that makes a program unpleasant to look at, and not sick."""

    def note(change: Change) -> Change:
        HEALTHY.append(Entry(change.__name__, change, where, held_out=held_out))
        return change

    return note


def pair(first: str, second: str) -> None:
    """Note a program with two faults that were planted singly under these names."""
    one, two = (next(entry for entry in FAULTS if entry.name == name) for name in (first, second))

    def change(recipe: Recipe) -> None:
        one.change(recipe)
        two.change(recipe)

    groups = tuple((entry.codes[0], *entry.also) for entry in (one, two))
    codes = tuple(group[0] for group in groups)
    PAIRS.append(Entry(f"{first}+{second}", change, both(one.fits, two.fits), codes, groups=groups))


@cache
def fill() -> None:
    """Import every module of this folder that plants something; pairs come last."""
    names = sorted(info.name for info in pkgutil.iter_modules([str(Path(__file__).parent)]))
    for name in names:
        if name.startswith(("faults_", "oddities_")):
            import_module(f"benchmarks.doctor.{name}")
    import_module("benchmarks.doctor.pairs")


def programs(entries: Sequence[Entry], per_entry: int, ways: tuple[Choices, ...] = WAYS) -> list[Program]:
    """Each entry in `per_entry` of the ways it fits, starting at another one each time."""
    made = []
    for index, entry in enumerate(entries):
        fitting = [way for way in ways if writable(way) and entry.fits(way)]
        shift = index % len(fitting) if fitting else 0
        for number, way in enumerate((fitting[shift:] + fitting[:shift])[:per_entry]):
            made.append(entry.program(way, seed=number % 2))
    return made


def everything(faults: int, oddities: int, real: int, pairs: int = 0) -> list[Program]:
    """The whole table, in fixed ways.

    Args:
        faults: Ways per fault.
        oddities: Ways per healthy program.
        real: Ways per entry on real data.
        pairs: Ways per pair of faults.
    """
    fill()
    shown, unpleasant = ([entry for entry in entries if not entry.held_out] for entries in (FAULTS, HEALTHY))
    made = programs(shown, faults) + programs(unpleasant, oddities) + programs(PAIRS, pairs)
    return made + programs(shown, real, REAL_WAYS) + programs(unpleasant, real, REAL_WAYS)


def sample(planted: int, healthy: int, pairs: int, seed: int, held_out: bool = False) -> list[Program]:
    """Random compositions, the codes in turn, so that none is forgotten.

    Args:
        planted: How many programs with one fault.
        healthy: How many without.
        pairs: How many with two.
        seed: Of the drawing; the same seed, the same programs.
        held_out: Draw only programs with a piece that the doctor's checks were never mended on, in place of none.
    """
    fill()
    random = np.random.default_rng(seed)
    groups: dict[str, list[Entry]] = {}
    for entry in FAULTS:
        if held_out or not entry.held_out:
            groups.setdefault(entry.codes[0], []).append(entry)
    if held_out:  # a fault worded anew where there is one
        groups = {code: [e for e in group if e.held_out] or group for code, group in groups.items()}
    oddities = [entry for entry in HEALTHY if held_out or not entry.held_out]
    made: list[Program] = []
    for group, count in ((list(groups.values()), planted), ([oddities], healthy), ([PAIRS], pairs)):
        lists = [list(random.permutation(np.array(entries, dtype=object))) for entries in group]
        order = random.permutation(len(lists))
        for number in range(count):
            entries = lists[order[number % len(lists)]]
            made.append(drawn(entries[number // len(lists) % len(entries)], random, held_out))
    return [made[number] for number in random.permutation(len(made))]  # a run that is cut short has some of each kind


def drawn(entry: Entry, random: np.random.Generator, held_out: bool) -> Program:
    """`entry` in a random way that it fits."""
    for _ in range(100_000):
        fresh = str(random.choice(sorted(HELD_OUT))) if held_out and not entry.held_out else ""
        fields = {
            name: str(random.choice((HELD_OUT if name == fresh else CHOICES)[name]))
            for name in CHOICES  # in the order of the fields
        }
        way = Choices(**fields)
        plain = entry.fits is always or way.data not in TWO_CLASSES or way.target == "binary"
        if writable(way) and plain and entry.fits(way):
            return entry.program(way, seed=int(random.integers(2, 1000)))
    raise LookupError(f"{entry.name} fits no way of writing a program")


def writable(way: Choices) -> bool:
    """Whether a person would write this, and this backend can train it."""
    if (way.head == "sigmoid") != (way.target == "binary" and way.head != "linear"):
        return False
    if way.target == "binary" and (way.data not in TWO_CLASSES or way.head == "softmax"):
        return False
    if way.loss == "name" and (way.head == "linear" or way.data in ("street", "voc")):
        return False
    return way.network != "own_step" or keras.backend.backend() != "jax"  # its train_step is eager


def find(name: str) -> Program | Written:
    """The program of this name."""
    for program in written():
        if program.name == name:
            return program
    fill()
    entry, _, rest = name.partition("@")
    way, _, seed = rest.partition("#")
    known = {known.name: known for known in (*FAULTS, *HEALTHY, *PAIRS)}
    return known[entry].program(Choices.read(way), int(seed or 0))
