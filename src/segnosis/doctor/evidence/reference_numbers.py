"""Numbers that name a plateau: what a uniform, a constant or a twice-activated prediction costs on this data."""

from __future__ import annotations

from collections.abc import Mapping
from math import e, exp, log

from segnosis.doctor.evidence.encodings import Encoding

PRICE = "data"


def measure(encodings: Mapping[str, Encoding]) -> Mapping[str, Mapping[str, float]]:
    """Output name → name of the number → value.

    `uniform` = ln C, `class_prior` = H(π), the best cross-entropy of a prediction that ignores the image,
    `double_softmax` = ln(1 + (C−1)/e), `double_sigmoid` = 0.313·f + 0.693·(1−f), `all_background_iou`,
    `foreground_share`.
    """
    return {name: numbers(encoding.frequencies) for name, encoding in encodings.items() if encoding.frequencies}


def numbers(frequencies: tuple[float, ...]) -> dict[str, float]:
    """The reference numbers of class shares that sum to one, background first.

    Example:
        >>> {name: round(value, 3) for name, value in numbers((0.97, 0.03)).items()}  # doctest: +NORMALIZE_WHITESPACE
        {'uniform': 0.693, 'class_prior': 0.135, 'double_softmax': 0.313, 'double_sigmoid': 0.682,
         'all_background_iou': 0.485, 'foreground_share': 0.03}
    """
    classes, foreground = len(frequencies), 1.0 - frequencies[0]
    return {
        "uniform": log(classes),
        "class_prior": -sum(share * log(share) for share in frequencies if share > 0),
        "double_softmax": log(1 + (classes - 1) / e),
        "double_sigmoid": foreground * log(1 + exp(-1)) + (1 - foreground) * log(2),
        "all_background_iou": frequencies[0] / classes,
        "foreground_share": foreground,
    }
