"""What a data set measures: sizes, intensities, classes, objects and spacing, in one streaming pass."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from segnosis.core.dataset_spec import DatasetSpec
from segnosis.core.sample import Pair
from segnosis.data.census import IGNORE
from segnosis.data.dataset import Dataset, harmonise
from segnosis.data.intensities import Channel, Intensities, short
from segnosis.data.labels import LabelScheme
from segnosis.data.scan import Progress, scan

_CONTRAST_IMAGES = 10_000  # images whose own deviation is kept
_OBJECT_IMAGES = 200  # images whose objects are counted


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
        contrast: 10th, 50th and 90th percentile of the images' own standard deviations, in the unit of the pixels.
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
    contrast: tuple[float, float, float] | None = None

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
        for name in ("height", "width", "unreadable", "spacing", "contrast"):
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
        classes = self.spec.num_classes
        self._sizes: Counter[tuple[int, int]] = Counter()
        self._groups: set[int] = set()
        self._splits: Counter[str] = Counter()
        self._unreadable: list[str] = []
        self._intensities = Intensities(self.spec.channels, self.spec.dtype)
        self._pixels, self._images = np.zeros(256, np.int64), np.zeros(classes, np.int64)
        self._empty = self._samples = 0
        self._contrast: list[float] = []
        self._objects = _Objects(classes, max(1, len(data) // _OBJECT_IMAGES))

    def add(self, pair: Pair) -> None:
        """Take one stored pair; one that cannot be read or does not fit is noted and left out."""
        if pair.image is None or pair.mask is None or pair.image.shape[:2] != pair.mask.shape[:2]:
            return self._leave_out(pair.id)
        try:
            image = harmonise(pair.image, self.spec.channels, self.spec.dtype, pair.image_file or Path(pair.id))
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
        if len(self._contrast) < _CONTRAST_IMAGES:
            some = image[::4, ::4]
            self._contrast.append(float(some[np.isfinite(some)].std()) if np.isfinite(some).any() else np.nan)
        self._intensities.add(image, (mask > 0) & (mask != IGNORE), zlib.crc32(pair.id.encode()))
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
            channels=self._intensities.result(),
            classes=tuple(self._class(k, valid) for k in range(self.spec.num_classes)),
            ignored_share=short(ignored / max(valid + ignored, 1)),
            empty_share=short(self._empty / max(self._samples, 1)),
            mostly=self._intensities.mostly(),
            unreadable=tuple(self._unreadable),
            splits=dict(self._splits),
            contrast=_quantiles(self._contrast, (0.1, 0.5, 0.9)),
            spacing=_quantiles(spacing, (0, 0.5, 1)),
        )

    def _leave_out(self, id: str) -> None:
        if len(self._unreadable) < 100:
            self._unreadable.append(id)

    def _class(self, k: int, valid: int) -> ClassFacts:
        per_image, area = self._objects.of(k)
        pixels = int(self._pixels[k])
        return ClassFacts(
            self.spec.class_names[k], pixels, short(pixels / max(valid, 1)), int(self._images[k]), per_image, area
        )


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
        return short(float(np.mean(self.counts[k]))), (low, middle, high)


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


def _quantiles(values: Sequence[float], at: tuple[float, float, float]) -> tuple[float, float, float] | None:
    finite = [value for value in values if np.isfinite(value)]
    if not finite:
        return None
    low, middle, high = (short(float(value)) for value in np.quantile(finite, at))
    return low, middle, high


def _spread(sizes: Counter[tuple[int, int]], axis: int) -> tuple[int, int, int]:
    values = np.repeat([size[axis] for size in sizes], list(sizes.values()))
    return int(values.min()), int(np.median(values)), int(values.max())
