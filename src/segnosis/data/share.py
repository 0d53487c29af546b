"""The part of every batch that one process makes when several train together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """A batch lies on all devices of a training in equal parts, in order; a process makes the parts of its own.

    Attributes:
        first: Number of the first device of this process, from 0.
        own: Devices of this process.
        devices: Devices of all processes.
    """

    first: int = 0
    own: int = 1
    devices: int = 1

    def part(self, samples: int) -> int:
        """Samples a device: where they do not divide equally, the last devices have fewer, or none."""
        return -(-samples // self.devices)

    def rows(self, samples: int) -> slice:
        """The samples of a batch of so many that this process makes.

        Example:
            >>> [Share(first, own=2, devices=4).rows(6) for first in (0, 2)]
            [slice(0, 4, None), slice(4, 6, None)]
        """
        part = self.part(samples)
        return slice(min(part * self.first, samples), min(part * (self.first + self.own), samples))
