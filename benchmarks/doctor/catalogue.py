"""All programs of the table: faults and oddities crossed with ways of writing a program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from benchmarks.doctor.recipe import Choices, Program, Recipe

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

Change = Callable[[Recipe], None]
Fits = Callable[[Choices], bool]


@dataclass(frozen=True)
class Entry:
    """A fault or an oddity, and the ways of writing in which it makes sense."""

    name: str
    change: Change
    fits: Fits
    codes: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


FAULTS: list[Entry] = []
HEALTHY: list[Entry] = []


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
    return way.loss == "keras"


def own(way: Choices) -> bool:
    return way.loss != "keras"


def probabilities(way: Choices) -> bool:
    return way.head != "linear"


def loads_itself(way: Choices) -> bool:
    """Whether batches are made in the user's own code."""
    return way.feed != "arrays"


def both(*needs: Fits) -> Fits:
    return lambda way: all(need(way) for need in needs)


def planted(*codes: str, where: Fits = always, also: tuple[str, ...] = ()) -> Callable[[Change], Change]:
    """Note a function that plants a fault deserving `codes`, the cause first."""

    def note(change: Change) -> Change:
        FAULTS.append(Entry(change.__name__, change, where, codes, also))
        return change

    return note


def healthy(where: Fits = always) -> Callable[[Change], Change]:
    """Note a function that makes a program unpleasant to look at, and not sick."""

    def note(change: Change) -> Change:
        HEALTHY.append(Entry(change.__name__, change, where))
        return change

    return note


def programs(entries: list[Entry], per_entry: int, ways: tuple[Choices, ...] = WAYS) -> list[Program]:
    """Each entry in `per_entry` of the ways it fits, starting at another one each time."""
    made = []
    for index, entry in enumerate(entries):
        fitting = [way for way in ways if entry.fits(way)]
        shift = index % len(fitting) if fitting else 0
        for number, way in enumerate((fitting[shift:] + fitting[:shift])[:per_entry]):
            name = f"{entry.name}@{way}"
            made.append(Program(name, way, entry.change, entry.codes, entry.also, seed=number % 2))
    return made


def everything(faults: int, oddities: int, real: int) -> list[Program]:
    """The whole table.

    Args:
        faults: Ways per fault.
        oddities: Ways per healthy program.
        real: Ways per entry on real data.
    """
    for module in (
        "faults_of_data",
        "faults_of_models",
        "oddities_of_data",
        "oddities_of_models",
    ):  # importing them fills the lists
        import_module(f"benchmarks.doctor.{module}")

    made = programs(FAULTS, faults) + programs(HEALTHY, oddities)
    return made + programs(FAULTS, real, REAL_WAYS) + programs(HEALTHY, real, REAL_WAYS)


def find(name: str) -> Program:
    """The program of this name."""
    return next(program for program in everything(99, 99, 99) if program.name == name)
