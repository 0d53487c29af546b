"""What a data set measures: sizes, intensities, classes, objects and spacing, in one streaming pass."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from segnosis.core.dataset_spec import DatasetSpec
from segnosis.core.sample import Pair
from segnosis.data.dataset import Dataset, harmonise
from segnosis.data.labels import IGNORE, LabelScheme
from segnosis.data.scan import Progress, scan

_RESERVOIR = 200_000  # pixels kept per channel for percentiles
_PER_IMAGE = 512  # pixels taken from each image
_OBJECT_IMAGES = 200  # images whose objects are counted


@dataclass(frozen=True)
class Channel:
    """Intensities of one image channel, over all pixels and over foreground pixels (`None` where there is none)."""

    mean: float
    std: float
    min: float
    max: float
    p005: float
    median: float
    p995: float
    foreground_mean: float | None = None
    foreground_std: float | None = None


@dataclass(frozen=True)
class ClassFacts:
    """How much there is of one class.

    Attributes:
        name: Class name.
        pixels: Pixels in all masks.
        share: Share of all pixels that are not ignored.
        images: Images that hold the class.
        objects_per_image: Mean number of connected regions in the images that hold it, or `None` where not counted.
        object_area: 10th, 50th and 90th percentile of a region's area in pixels, or `None`.
    """

    name: str
    pixels: int
    share: float
    images: int
    objects_per_image: float | None = None
    object_area: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Fingerprint:
    """The facts that a plan is made from.

    Attributes:
        spec: What the data set is.
        samples: Number of readable pairs.
        unreadable: Ids of pairs that cannot be read or do not fit; at most 100.
        groups: Number of groups.
        splits: The layout's own splits, name → number of samples.
        height, width: Minimum, median and maximum in pixels.
        sizes: Number of distinct sizes; the commonest ones as `"512x512"` → images.
        channels: Intensities per channel.
        classes: Facts per class id.
        ignored_share: Share of mask pixels that are no class.
        empty_share: Share of masks that hold nothing but class 0.
        mostly: `"dark"`, `"bright"` or `"mixed"`: where most pixels lie between the extremes.
        spacing: Minimum, median and maximum of the pixel size in millimetres, or `None`.
    """

    spec: DatasetSpec
    samples: int
    groups: int
    height: tuple[int, int, int]
    width: tuple[int, int, int]
    sizes: Mapping[str, int]
    channels: tuple[Channel, ...]
    classes: tuple[ClassFacts, ...]
    ignored_share: float = 0.0
    empty_share: float = 0.0
    mostly: str = "mixed"
    unreadable: tuple[str, ...] = ()
    splits: Mapping[str, int] = field(default_factory=dict)
    spacing: tuple[float, float, float] | None = None

    @property
    def num_classes(self) -> int:
        """Number of classes, background included."""
        return self.spec.num_classes

    def to_json(self) -> dict[str, Any]:
        """Plain JSON form, inverse of `from_json`."""
        return {**asdict(self), "spec": self.spec.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Fingerprint:
        """Rebuild from `to_json`."""
        facts = {name: data[name] for name in (f.name for f in fields(cls)) if name in data}
        facts["spec"] = DatasetSpec.from_json(facts["spec"])
        facts["channels"] = tuple(Channel(**channel) for channel in facts["channels"])
        facts["classes"] = tuple(
            ClassFacts(**{**c, "object_area": tuple(c["object_area"]) if c.get("object_area") else None})
            for c in facts["classes"]
        )
        for name in ("height", "width", "unreadable", "spacing"):
            facts[name] = tuple(facts[name]) if facts.get(name) is not None else None
        return cls(**facts)


class FingerprintScan:
    """Accumulator of a fingerprint over stored pairs; memory does not grow with their number but for the set of groups.

    Args:
        data: The data set, whose spec and scheme interpret the pairs.
    """

    def __init__(self, data: Dataset) -> None:
        self.data, self.spec = data, data.spec
        self._scheme: LabelScheme = data.scheme
        count, classes = self.spec.channels, self.spec.num_classes
        self._sizes: Counter[tuple[int, int]] = Counter()
        self._groups: set[int] = set()
        self._splits: Counter[str] = Counter()
        self._unreadable: list[str] = []
        self._moments = np.zeros((2, 3, count))  # all, foreground × number, sum, sum of squares
        self._low, self._high = np.full(count, np.inf), np.full(count, -np.inf)
        self._kept: list[np.ndarray] = []
        self._every, self._kept_pixels = 1, 0
        self._pixels, self._images = np.zeros(256, np.int64), np.zeros(classes, np.int64)
        self._empty = self._samples = 0
        self._objects = _Objects(classes, max(1, len(data) // _OBJECT_IMAGES))

    def add(self, pair: Pair) -> None:
        """Take one stored pair; one that cannot be read or does not fit is noted and left out."""
        if pair.image is None or pair.mask is None or pair.image.shape[:2] != pair.mask.shape[:2]:
            return self._leave_out(pair.id)
        try:
            image = harmonise(pair.image, self.spec.channels, self.spec.dtype, pair.image_file or pair.id)
            mask = self._scheme.decode(pair.mask)
        except ValueError:  # other channels, or a colour mask among indices: the checks tell of it
            return self._leave_out(pair.id)
        self._samples += 1
        self._sizes[mask.shape[0], mask.shape[1]] += 1
        self._groups.add(hash(pair.group))
        if pair.split:
            self._splits[pair.split] += 1
        counts = np.bincount(mask.ravel(), minlength=256)
        self._pixels += counts
        present = counts[: self.spec.num_classes] > 0
        self._images += present
        self._empty += not present[1:].any()
        self._objects.add(mask, np.flatnonzero(present[1:]) + 1)
        self._intensities(image, mask, zlib.crc32(pair.id.encode()))
        return None

    def result(self) -> Fingerprint:
        """The facts so far."""
        sizes = self._sizes or Counter({(0, 0): 1})
        valid = int(self._pixels[: self.spec.num_classes].sum())
        ignored = int(self._pixels.sum()) - valid
        spacing = self.data.spacings()
        return Fingerprint(
            spec=self.spec,
            samples=self._samples,
            groups=len(self._groups),
            height=_spread(sizes, 0),
            width=_spread(sizes, 1),
            sizes={f"{h}x{w}": n for (h, w), n in self._sizes.most_common(20)},
            channels=self._channels(),
            classes=tuple(self._class(k, valid) for k in range(self.spec.num_classes)),
            ignored_share=_round(ignored / max(valid + ignored, 1)),
            empty_share=_round(self._empty / max(self._samples, 1)),
            mostly=self._mostly(),
            unreadable=tuple(self._unreadable),
            splits=dict(self._splits),
            spacing=None if not spacing else tuple(_round(float(v)) for v in np.quantile(spacing, (0, 0.5, 1))),  # type: ignore[arg-type]
        )

    def _leave_out(self, id: str) -> None:
        if len(self._unreadable) < 100:
            self._unreadable.append(id)

    def _intensities(self, image: np.ndarray, mask: np.ndarray, seed: int) -> None:
        flat = image.reshape(-1, image.shape[2])
        finite = flat if image.dtype == np.uint8 else flat[np.isfinite(flat).all(axis=1)]
        if len(finite) == 0:
            return
        self._low, self._high = np.minimum(self._low, finite.min(axis=0)), np.maximum(self._high, finite.max(axis=0))
        wide = finite.astype(np.float32)
        total = wide.sum(axis=0, dtype=np.float64)
        squares = np.einsum("ij,ij->j", wide, wide, dtype=np.float64)
        self._moments[0] += np.stack([np.full(len(total), len(wide)), total, squares])
        inside = flat[(mask.ravel() > 0) & (mask.ravel() != IGNORE)]
        if len(inside) and len(finite) == len(flat):
            wide = inside.astype(np.float32)
            squares = np.einsum("ij,ij->j", wide, wide, dtype=np.float64)
            self._moments[1] += np.stack([np.full(len(total), len(wide)), wide.sum(axis=0, dtype=np.float64), squares])
        if self._samples % self._every == 0:
            picked = np.random.default_rng(seed).integers(0, len(finite), _PER_IMAGE)
            self._kept.append(finite[picked].astype(np.float32))
            self._kept_pixels += _PER_IMAGE
            if self._kept_pixels > _RESERVOIR:  # keep every second image from here on
                self._kept, self._every = self._kept[::2], 2 * self._every
                self._kept_pixels = sum(map(len, self._kept))

    def _channels(self) -> tuple[Channel, ...]:
        if not self._kept:
            return ()
        quantiles = np.quantile(np.concatenate(self._kept), (0.005, 0.5, 0.995), axis=0)
        out = []
        for k in range(self.spec.channels):
            mean, std = _mean_std(*self._moments[0, :, k])
            inside = _mean_std(*self._moments[1, :, k]) if self._moments[1, 0, k] else (None, None)
            numbers = (mean, std, self._low[k], self._high[k], *quantiles[:, k])
            out.append(Channel(*(_round(float(v)) for v in numbers), *(v if v is None else _round(v) for v in inside)))
        return tuple(out)

    def _class(self, k: int, valid: int) -> ClassFacts:
        per_image, area = self._objects.of(k)
        pixels = int(self._pixels[k])
        return ClassFacts(
            self.spec.class_names[k], pixels, _round(pixels / max(valid, 1)), int(self._images[k]), per_image, area
        )

    def _mostly(self) -> str:
        if not self._kept:
            return "mixed"
        pixels = np.concatenate(self._kept).mean(axis=1)
        low, high = np.quantile(pixels, (0.005, 0.995))
        place = float(np.mean((pixels - low) / (high - low))) if high > low else 0.5
        return "dark" if place < 0.35 else "bright" if place > 0.65 else "mixed"


class _Objects:
    """Connected regions per class, counted in every `every`-th image at most."""

    def __init__(self, classes: int, every: int) -> None:
        self.every, self.seen = every, 0
        self.counts: list[list[int]] = [[] for _ in range(classes)]
        self.areas: list[list[int]] = [[] for _ in range(classes)]

    def add(self, mask: np.ndarray, present: Sequence[int] | np.ndarray) -> None:
        import cv2

        self.seen += 1
        if (self.seen - 1) % self.every:
            return
        for k in present:
            number, _, stats, _ = cv2.connectedComponentsWithStats((mask == k).astype(np.uint8), connectivity=8)
            self.counts[k].append(number - 1)
            self.areas[k] += stats[1:201, cv2.CC_STAT_AREA].tolist()

    def of(self, k: int) -> tuple[float | None, tuple[float, float, float] | None]:
        if not self.counts[k]:
            return None, None
        low, middle, high = (float(v) for v in np.quantile(self.areas[k], (0.1, 0.5, 0.9)))
        return _round(float(np.mean(self.counts[k]))), (low, middle, high)


def fingerprint(data: Dataset, *, progress: Progress | None = None) -> Fingerprint:
    """Measure a data set in one pass.

    Args:
        data: The data set.
        progress: Called with (pairs done, pairs in all).

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from segnosis.data.open import open
        >>> from segnosis.data.readers import image_folders
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = image_folders.example(Path(folder))
        ...     facts = fingerprint(open(folder))
        >>> facts.samples, facts.height, facts.classes[1].images
        (6, (24, 24, 24), 6)
    """
    found: Fingerprint = scan(data.pairs(), {"fingerprint": FingerprintScan(data)}, progress=progress)["fingerprint"]
    return found


def _spread(sizes: Counter[tuple[int, int]], axis: int) -> tuple[int, int, int]:
    values = np.repeat([size[axis] for size in sizes], list(sizes.values()))
    return int(values.min()), int(np.median(values)), int(values.max())


def _mean_std(number: float, total: float, squares: float) -> tuple[float, float]:
    mean = total / number
    return float(mean), float(np.sqrt(max(squares / number - mean * mean, 0.0)))


def _round(value: float) -> float:
    return float(f"{value:.6g}")
