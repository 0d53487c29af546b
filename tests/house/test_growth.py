"""The page on more GPUs is what its module prints, and its formulas have the limits they must have."""

from __future__ import annotations

import dataclasses

import pytest
from benchmarks.growth import World, page, ring, speed, step
from docs.build import DOCS

pytestmark = pytest.mark.one_backend


def test_the_page_is_fresh() -> None:
    made = page(World())
    assert (DOCS / "growth.md").read_text("utf-8") == made, "run `python -m benchmarks.growth --page docs/growth.md`"


def test_a_ring_sends_at_most_twice_the_gradient_and_one_member_sends_nothing() -> None:
    assert ring(1e9, 1, 1e9, 1.0) == 0.0
    assert ring(1e9, 2, 1e9, 0.0) == pytest.approx(1.0)
    assert ring(1e9, 1000, 1e9, 0.0) == pytest.approx(2.0, rel=2e-3)


def test_every_stream_becomes_the_limit_when_it_is_slow() -> None:
    world = World()
    assert step(world, 1, 32).limit == "arithmetic"
    assert step(dataclasses.replace(world, network=1e8), 64, 32).limit == "all-reduce"
    assert step(dataclasses.replace(world, cores_a_host=1), 8, 32).limit == "input"
    assert step(dataclasses.replace(world, in_memory=False, storage=1e8), 8, 32).limit == "storage"


def test_nothing_beats_n_times_one() -> None:
    for gpus in (2, 8, 64, 512):
        assert speed(World(), gpus, 32) <= gpus * speed(World(), 1, 32)
