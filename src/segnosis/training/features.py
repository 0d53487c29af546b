"""Feature maps: what the stages of a network answer to one image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from segnosis.core.run_folder import RunFolder, write_bytes
from segnosis.training import pictures
from segnosis.training.plan import Plan
from segnosis.training.showcase import choose

if TYPE_CHECKING:
    import keras

    from segnosis.data.dataset import Dataset

_CHANNELS = 6
"""Maps shown of a stage: those that vary most over the image."""
_STAGES = 9
_SIDE = 160


def save(
    folder: RunFolder, model: keras.Model, dataset: Dataset, rows: list[dict[str, Any]], plan: Plan
) -> dict[str, Any] | None:
    """Write a picture a stage of its most varied maps, for the median sample, into `pictures/`.

    Args:
        folder: Run folder.
        model: Functional model that takes raw pixels.
        dataset: The scored samples.
        rows: Their rows of `evaluate`.
        plan: What the model was trained by; the sample is cut or stretched to its window.

    Returns:
        `id` of the sample, the picture of what the model saw (`file`), and `stages`, a row each: `layer`, `shape`
        (height, width, channels), `channels` shown, `silent` (share of all channels that are the same everywhere) and
        `file`. `None` where no sample or no stage can be shown.
    """
    chosen = [row for kind, row in choose(rows, each=1) if kind in ("median", "held-out")]
    names = stages(model)
    if not chosen or not names:
        return None
    import keras

    sample = dataset[dataset.ids.index(chosen[0]["id"])]
    image = _cut(sample.image, plan)
    probe = keras.Model(model.inputs, [model.get_layer(name).output for name in names])
    # Called once and as it stands: compiling it would take longer than the image does.
    found = probe(keras.ops.convert_to_tensor(image[None].astype(np.float32)), training=False)
    found = [keras.ops.convert_to_numpy(maps) for maps in (found if isinstance(found, list) else [found])]
    write_bytes(
        folder.pictures / "features-0.png", pictures.png(pictures.fitted(pictures.grey_or_colour(image), _SIDE))
    )
    out: dict[str, Any] = {"id": sample.id, "file": "features-0.png", "stages": []}
    for number, (name, maps) in enumerate(zip(names, found, strict=True), start=1):
        maps = np.asarray(maps, np.float32)[0]
        spread = maps.std(axis=(0, 1))
        order = [int(channel) for channel in np.argsort(-spread, kind="stable")[:_CHANNELS]]
        file = folder.pictures / f"features-{number}.png"
        tiles = [pictures.fitted(_seen(maps[..., channel]), _SIDE) for channel in order]
        write_bytes(file, pictures.png(pictures.sheet([tiles], side=_SIDE)))
        out["stages"].append(
            {
                "layer": name,
                "shape": list(maps.shape),
                "channels": order,
                "silent": float(np.mean(spread <= 1e-6 * max(1.0, float(np.abs(maps).max())))),
                "file": file.name,
            }
        )
    return out


def stages(model: keras.Model) -> list[str]:
    """The last activation at each resolution, down and up again; at most nine, in the order of the graph."""
    names: list[str] = []
    side: Any = None
    for layer in model.layers:
        shape = getattr(layer.output, "shape", ()) if len(getattr(layer, "_inbound_nodes", ())) == 1 else ()
        if len(shape) != 4 or type(layer).__name__ not in ("Activation", "ReLU"):
            continue
        stage = layer.name.rsplit("_", 1)[0]
        if names and stage == side:
            names[-1] = layer.name
        else:
            names.append(layer.name)
        side = stage
    if len(names) > _STAGES:
        names = [names[round(i * (len(names) - 1) / (_STAGES - 1))] for i in range(_STAGES)]
    return names


def _cut(image: np.ndarray, plan: Plan) -> np.ndarray:
    """The image as one tile of the plan: its middle where it is larger, mirrored at the edges where it is smaller."""
    height, width = plan.window or plan.size
    if plan.fit_to_size == "resize":
        planes = [cv2.resize(plane, (width, height)) for plane in np.moveaxis(image.astype(np.float32), -1, 0)]
        return np.stack(planes, axis=-1)
    top, left = max(0, (image.shape[0] - height) // 2), max(0, (image.shape[1] - width) // 2)
    piece = image[top : top + height, left : left + width]
    missing = [(0, height - piece.shape[0]), (0, width - piece.shape[1]), (0, 0)]
    return np.pad(piece, missing, mode="symmetric")


def _seen(plane: np.ndarray) -> np.ndarray:
    """`(height, width, 3)` uint8 of one map; its brightest half per cent is white: hot pixels hide the rest."""
    low, high = np.percentile(plane, (0.5, 99.5))
    grey = np.uint8(255 * np.clip((plane - low) / max(high - low, 1e-12), 0.0, 1.0))
    return np.repeat(np.asarray(grey)[..., None], 3, axis=-1)
