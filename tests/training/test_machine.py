"""Choices by measurement, with the clock replaced: what is chosen follows from the times alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from segnosis.training import machine


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    machine.batch_size.cache_clear()
    yield
    machine.batch_size.cache_clear()


def test_the_time_of_a_convolution_is_measured() -> None:
    assert machine._seconds("float32", 1) > 0


@pytest.mark.parametrize(
    ("on_cpu", "seconds", "chosen"),
    [
        (True, lambda batch: 1.0, 8),  # however fast larger ones are, a CPU takes the steps
        (False, lambda batch: float(batch), 8),
        (False, lambda batch: 1.0, 32),  # up to the largest
        (False, lambda batch: max(batch, 16) / 16, 16),  # full at 16
    ],
)
def test_a_batch_grows_as_long_as_its_images_become_cheaper(
    monkeypatch: pytest.MonkeyPatch, on_cpu: bool, seconds: Callable[[int], float], chosen: int
) -> None:
    monkeypatch.setattr(machine, "on_cpu", lambda: on_cpu)
    monkeypatch.setattr(machine, "_seconds", lambda dtype, batch=4: seconds(batch))
    size, reason = machine.batch_size(8)
    assert size == chosen
    assert "an image" in reason
