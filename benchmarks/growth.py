"""What 8, 64 or 512 GPUs would give, reckoned from what one of them and one host do.

    python -m benchmarks.growth [--step-flops 2.4e11 --gpu-flops 1e14 --network 25e9 …] [--page docs/growth.md]

A model, not a measurement. A step takes as long as the slowest of its three streams, which work side by side:

- arithmetic, and behind it what of the gradient's exchange does not fit beside the backward pass. A ring all-reduce
  sends 2 (n - 1) / n times the gradient through every link, in 2 (n - 1) messages (Patarasuk and Yuan, Bandwidth
  optimal all-reduce algorithms for clusters of workstations, 2009): first among the GPUs of a host, then among hosts;
- decoding and augmenting on the processor cores;
- reading from storage that all hosts share, where the samples do not stay in memory.

Every assumption is a parameter, and every parameter an option of this command.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
from dataclasses import dataclass
from pathlib import Path

from segnosis.core.run_folder import write_text

_INTRODUCTION = """\
# What more GPUs would give

A model, not a measurement: no second GPU was at hand. It reckons from what was counted for a U-Net at 256 × 256 and
measured on one core (the first four rows of the last table), and from assumptions that are named there (the others).
`python -m benchmarks.growth` prints it again; any row is an option: `python -m benchmarks.growth --network 1.25e9`.

The bars show the share of n times one GPU. A step takes as long as the slowest of three streams: arithmetic with what
of the gradient's exchange does not fit beside it, the processor cores that prepare images, and shared storage. A ring
all-reduce of G bytes among n members takes 2 (n − 1) / n · G / bandwidth + 2 (n − 1) · latency (Patarasuk and Yuan,
*Bandwidth optimal all-reduce algorithms for clusters of workstations*, 2009), first among the GPUs of a host, then
among hosts."""
_LARGER = """\
The batch grows with the GPUs. That is what data parallelism is good at; whether a batch of thousands still learns as
much an epoch is another question, which this page does not answer."""
_SHORTER = """\
The training stays the same and only becomes shorter. The exchange does not shrink with the images a GPU; most of it is
BatchNormalization over the whole batch, which waits for 72 small exchanges a step."""
_STORED = """\
Storage is shared, so it limits the images a second whatever the GPUs. `segnosis pack`, and enough memory to keep
samples decoded, move that limit; more GPUs do not."""
_LEFT_OUT = """\
Left out: stragglers, other jobs on the same network, validation, checkpoints, and the first epoch, which reads and
decodes everything once. All of them make it slower."""

COUNTS = (1, 2, 4, 8, 16, 64, 256, 512)
_BAR = 30


@dataclass(frozen=True)
class World:
    """What is assumed. The first two were counted for U-Net at 256 × 256, the next two measured on one core of ours."""

    gradient: float = 4 * 7.8e6  # bytes: U-Net's 7.8 million parameters, float32
    image_flops: float = 8.4e10  # of a training step for one image: three times the convolutions of U-Net
    decode: float = 1.9e-3  # seconds of one core for one image (benchmarks/feed.py)
    augment: float = 0.67e-3  # seconds of one core for one image (benchmarks/feed.py)
    gpu_flops: float = 1e14  # arithmetic that a GPU really does in bfloat16, a tenth of the best on its data sheet
    gpus_a_host: int = 8  # GPUs
    cores_a_host: int = 96  # processor cores
    host_link: float = 300e9  # bytes a second between GPUs of a host
    network: float = 25e9  # bytes a second of a host to others: 200 Gbit/s
    host_latency: float = 5e-6  # seconds a message within a host
    latency: float = 20e-6  # seconds a message between hosts
    beside: float = 0.6  # share of the arithmetic, the backward pass, that the exchange can run beside
    small_exchanges: int = 72  # of BatchNormalization's statistics, two there and two back for 18 layers: all latency
    image_bytes: float = 0.2e6  # in storage
    storage: float = 5e9  # bytes a second of all storage
    in_memory: bool = True  # samples stay decoded in memory: no decoding and no storage after the first epoch


@dataclass(frozen=True)
class Step:
    """Seconds of a step, by what they are needed for."""

    arithmetic: float
    exchange: float
    cores: float
    storage: float

    @property
    def seconds(self) -> float:
        return max(self.arithmetic + self.exchange, self.cores, self.storage)

    @property
    def limit(self) -> str:
        if self.seconds == self.storage:
            return "storage"
        if self.seconds == self.cores:
            return "input"
        return "all-reduce" if self.exchange > 0.1 * self.arithmetic else "arithmetic"


def ring(size: float, members: int, link: float, latency: float) -> float:
    """Seconds of a ring all-reduce of `size` bytes among so many members."""
    return 2 * (members - 1) * (size / members / link + latency)


def step(world: World, gpus: int, batch: int) -> Step:
    """A step on so many GPUs with so many images a GPU."""
    inside = min(gpus, world.gpus_a_host)
    hosts = -(-gpus // world.gpus_a_host)
    arithmetic = batch * world.image_flops / world.gpu_flops
    # The GPUs of a host share its network, so each exchanges an equal part of the gradient with the other hosts.
    gradient = ring(world.gradient, inside, world.host_link, world.host_latency) + ring(
        world.gradient, hosts, world.network, world.latency
    )
    small = world.small_exchanges * (_tree(inside, world.host_latency) + _tree(hosts, world.latency))
    images_a_host = batch * inside
    work = world.augment + (0.0 if world.in_memory else world.decode)
    return Step(
        arithmetic,
        max(0.0, gradient - world.beside * arithmetic) + small,
        images_a_host * work / world.cores_a_host,
        0.0 if world.in_memory else batch * gpus * world.image_bytes / world.storage,
    )


def _tree(members: int, latency: float) -> float:
    """Seconds of a small all-reduce: up a tree and down."""
    return 2 * (members - 1).bit_length() * latency


def speed(world: World, gpus: int, batch: int) -> float:
    """Images a second."""
    return gpus * batch / step(world, gpus, batch).seconds


def table(world: World, *, batch: int | None = None, whole: int | None = None) -> list[str]:
    """Lines of a table, for so many images a GPU, or for a whole batch divided among the GPUs."""
    lines = ["| GPUs | images a GPU | ms a step | images/s | of n times one | limit | |", "|" + " --- |" * 7]
    one = speed(world, 1, batch or whole or 1)
    for gpus in COUNTS:
        own = batch if batch is not None else (whole or 0) // gpus
        if own < 1:
            break
        taken, rate = step(world, gpus, own), speed(world, gpus, own)
        share = rate / (gpus * one)
        bar = f"`{'█' * max(round(_BAR * share), 1)}`"
        lines.append(
            f"| {gpus} | {own} | {1000 * taken.seconds:.1f} | {rate:,.0f} | {share:.0%} | {taken.limit} | {bar} |"
        )
    return lines


def page(world: World) -> str:
    """The page in the documents."""
    from_disk = dataclasses.replace(world, in_memory=False)
    slow = dataclasses.replace(world, network=1.25e9)
    meanings = dict(re.findall(r"^    (\w+): .*?  # (.*)$", inspect.getsource(World), flags=re.MULTILINE))
    fields = [
        f"| `{field.name}` | {getattr(world, field.name):g} | {meanings.get(field.name, '')} |"
        for field in dataclasses.fields(world)
    ]
    parts = [
        _INTRODUCTION,
        "## 32 images a GPU, samples in memory",
        "\n".join(table(world, batch=32)),
        _LARGER,
        "## A batch of 512 divided among the GPUs, samples in memory",
        "\n".join(table(world, whole=512)),
        _SHORTER,
        "## 32 images a GPU, read and decoded anew every epoch",
        "\n".join(table(from_disk, batch=32)),
        _STORED,
        "## 32 images a GPU over 10 Gbit/s",
        "\n".join(table(slow, batch=32)),
        "## What is assumed",
        "\n".join(["| parameter | value | |", "| --- | --- | --- |", *fields]),
        _LEFT_OUT,
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for field in dataclasses.fields(World):
        kind = _yes if isinstance(field.default, bool) else type(field.default)
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=kind, default=field.default)
    parser.add_argument("--page", type=Path, help="file to write the page to; printed when left out")
    arguments = vars(parser.parse_args())
    target = arguments.pop("page")
    text = page(World(**arguments))
    if target:
        write_text(target, text)
    else:
        print(text)


def _yes(word: str) -> bool:
    return word.lower() in ("1", "yes", "true")


if __name__ == "__main__":
    main()
