"""ResNet and the U-Net of segmentation_models.pytorch by PyTorch functions on a state dict with the published names."""

from __future__ import annotations

import numpy as np

COUNTS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}


def resnet_state(name: str, prefix: str = "", seed: int = 0) -> dict[str, np.ndarray]:
    """Random numbers of a sane size under torchvision's names, without the classifier."""
    state, random = {}, np.random.default_rng(seed)
    bottleneck = name == "resnet50"
    _add(state, random, f"{prefix}conv1", f"{prefix}bn1", 7, 3, 64)
    before = 64
    for stage, count in enumerate(COUNTS[name], start=1):
        width = 64 * 2 ** (stage - 1)
        after = width * 4 if bottleneck else width
        for block in range(count):
            part = f"{prefix}layer{stage}.{block}"
            shapes = [(1, before, width), (3, width, width), (1, width, after)] if bottleneck else (
                [(3, before, width), (3, width, width)]
            )  # fmt: skip
            for index, shape in enumerate(shapes, start=1):
                _add(state, random, f"{part}.conv{index}", f"{part}.bn{index}", *shape)
            if block == 0 and before != after:
                _add(state, random, f"{part}.downsample.0", f"{part}.downsample.1", 1, before, after)
            before = after
    return state


def smp_unet_state(name: str, num_classes: int, seed: int = 0) -> dict[str, np.ndarray]:
    """The same for a whole U-Net with the usual decoder of 256, 128, 64, 32 and 16 filters."""
    state, random = resnet_state(name, "encoder.", seed), np.random.default_rng(seed + 1)
    skips = (256, 128, 64, 64, 0) if name != "resnet50" else (1024, 512, 256, 64, 0)
    before = 512 if name != "resnet50" else 2048
    for index, (skip, filters) in enumerate(zip(skips, (256, 128, 64, 32, 16), strict=True)):
        part = f"decoder.blocks.{index}"
        _add(state, random, f"{part}.conv1.0", f"{part}.conv1.1", 3, before + skip, filters)
        _add(state, random, f"{part}.conv2.0", f"{part}.conv2.1", 3, filters, filters)
        before = filters
    state["segmentation_head.0.weight"] = random.standard_normal((num_classes, 16, 3, 3), dtype="float32") / 12
    state["segmentation_head.0.bias"] = random.standard_normal(num_classes, dtype="float32")
    return state


def resnet_levels(name: str, state: dict[str, np.ndarray], images: np.ndarray, prefix: str = "") -> list[np.ndarray]:
    """Features at strides 2, 4, 8, 16 and 32, `(batch, height, width, channels)`, from scaled pixels."""
    return [level.numpy().transpose(0, 2, 3, 1) for level in _levels(name, _Net(state), images, prefix)]


def smp_unet_logits(name: str, state: dict[str, np.ndarray], images: np.ndarray) -> np.ndarray:
    """Logits `(batch, height, width, classes)` from scaled pixels; sides divisible by 32."""
    import torch
    from torch.nn import functional

    net = _Net(state)
    *skips, x = _levels(name, net, images, "encoder.")
    for index, skip in enumerate([*reversed(skips), None]):
        x = functional.interpolate(x, scale_factor=2, mode="nearest")
        x = x if skip is None else torch.cat([x, skip], dim=1)
        for conv in ("conv1", "conv2"):
            part = f"decoder.blocks.{index}.{conv}"
            x = functional.relu(net.normalized(net.convolution(x, f"{part}.0"), f"{part}.1"))
    return net.convolution(x, "segmentation_head.0").numpy().transpose(0, 2, 3, 1)


def _levels(name: str, net: _Net, images: np.ndarray, prefix: str) -> list:
    import torch
    from torch.nn import functional

    x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    x = functional.relu(net.normalized(net.convolution(x, f"{prefix}conv1", stride=2), f"{prefix}bn1"))
    levels = [x]
    x = functional.max_pool2d(x, 3, stride=2, padding=1)
    for stage, count in enumerate(COUNTS[name], start=1):
        for block in range(count):
            part, start = f"{prefix}layer{stage}.{block}", x
            stride = 2 if stage > 1 and block == 0 else 1
            strided = 2 if name == "resnet50" else 1
            for index in range(1, 4 if name == "resnet50" else 3):
                x = net.convolution(x, f"{part}.conv{index}", stride=stride if index == strided else 1)
                x = net.normalized(x, f"{part}.bn{index}")
                if f"{part}.conv{index + 1}.weight" in net.state:
                    x = functional.relu(x)
            if f"{part}.downsample.0.weight" in net.state:
                start = net.convolution(start, f"{part}.downsample.0", stride=stride)
                start = net.normalized(start, f"{part}.downsample.1")
            x = functional.relu(x + start)
        levels.append(x)
    return levels


def _add(state: dict, random: np.random.Generator, conv: str, norm: str, kernel: int, before: int, after: int) -> None:
    deviation = np.sqrt(2.0 / (kernel * kernel * before))
    shape = (after, before, kernel, kernel)
    state[f"{conv}.weight"] = (deviation * random.standard_normal(shape, dtype="float32")).astype("float32")
    for name, middle in (("weight", 0.7), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
        state[f"{norm}.{name}"] = (middle + random.uniform(-0.1, 0.1, after)).astype("float32")
    state[f"{norm}.num_batches_tracked"] = np.array(7)


class _Net:
    def __init__(self, state: dict[str, np.ndarray]) -> None:
        import torch

        self.state = {name: torch.from_numpy(np.array(array)) for name, array in state.items()}

    def convolution(self, x, name: str, stride: int = 1):
        from torch.nn import functional

        kernel = self.state[f"{name}.weight"]
        bias = self.state.get(f"{name}.bias")
        return functional.conv2d(x, kernel, bias, stride=stride, padding=(kernel.shape[-1] - 1) // 2)

    def normalized(self, x, name: str):
        from torch.nn import functional

        weight, bias, mean, variance = (
            self.state[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
        )
        return functional.batch_norm(x, mean, variance, weight, bias, training=False, eps=1e-5)
