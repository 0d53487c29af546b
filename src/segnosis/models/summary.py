"""What training will change in a model, layer by layer."""

from __future__ import annotations

import keras

from segnosis.models.freeze import count, leaves


def trainable_summary(model: keras.Model) -> str:
    """A table of every layer with weights: how many of them training changes, and what BatchNormalization does.

    Args:
        model: Any Keras model; layers of models nested inside it are listed as `nested/layer`.

    Returns:
        Lines of text. `trainable` and `frozen` count weights; `statistics` are the moving means and variances of
        BatchNormalization, `moving` with every batch or `stored`, kept as they are, where the layer is frozen.

    Example:
        >>> import segnosis as sg
        >>> model = sg.models.unet((32, 32, 1), num_classes=2, width=4, depth=1)
        >>> _ = sg.models.freeze(model, "encoder")
        >>> print(sg.models.trainable_summary(model))
        layer           kind                trainable  frozen  statistics
        encoder1_conv1  Conv2D                      –      36
        encoder1_norm1  BatchNormalization          –       8    8 stored
        encoder1_conv2  Conv2D                      –     144
        encoder1_norm2  BatchNormalization          –       8    8 stored
        encoder2_conv1  Conv2D                      –     288
        encoder2_norm1  BatchNormalization          –      16   16 stored
        encoder2_conv2  Conv2D                      –     576
        encoder2_norm2  BatchNormalization          –      16   16 stored
        decoder1_conv1  Conv2D                    432       –
        decoder1_norm1  BatchNormalization          8       –    8 moving
        decoder1_conv2  Conv2D                    144       –
        decoder1_norm2  BatchNormalization          8       –    8 moving
        head            Conv2D                     10       –
        ─────────────────────────────────────────────────────────────────
        all                                       602   1,092          64
    """
    rows = [("layer", "kind", "trainable", "frozen", "statistics")]
    for path, layer in leaves(model):
        if not layer.weights:
            continue
        statistics = _statistics(layer)
        learned = count(layer.weights) - statistics
        trainable = count(layer.trainable_weights)
        does = "moving" if layer.trainable else "stored"
        rows.append(
            (
                path,
                type(layer).__name__,
                _number(trainable),
                _number(learned - trainable),
                f"{statistics:,} {does}" if statistics else "",
            )
        )
    total, trainable = count(model.weights), count(model.trainable_weights)
    statistics = sum(_statistics(layer) for _, layer in leaves(model))
    rows.append(("all", "", _number(trainable), _number(total - trainable - statistics), _number(statistics)))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.insert(-1, "─" * max(map(len, lines)))
    return "\n".join(lines)


def _statistics(layer: keras.layers.Layer) -> int:
    if not isinstance(layer, keras.layers.BatchNormalization):
        return 0
    return count([layer.moving_mean, layer.moving_variance])


def _number(value: int) -> str:
    return f"{value:,}" if value else "–"
