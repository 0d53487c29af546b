"""The peers of `step.py`: a network that Keras described, layer by layer in PyTorch, and those of two libraries.

Runs in an interpreter that has PyTorch and need not have segnosis.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _step_worker import CLASSES, RATE, Turn, batches, peak, serve, timed

SMP = {"unet": "Unet", "unet_plus_plus": "UnetPlusPlus", "deeplab_v3_plus": "DeepLabV3Plus"}


def main(task: str, precision: str, name: str, folder: str, threads: int) -> None:
    if not installed("torch"):
        serve(None, threads)
        return
    import torch
    from torch.nn import functional

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    last, compiled = "channels last" in name, "compiled" in name
    if not exists(task, name):
        serve(None, threads)
        return
    layout = torch.channels_last if last else torch.contiguous_format

    def loss_of(net: Any, x: Any, y: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            logits = net(x)
        logits = logits.float()
        p, t = logits.softmax(1), functional.one_hot(y, CLASSES).movedim(-1, 1)
        both, size = (p * t).sum((0, 2, 3)), p.sum((0, 2, 3)) + t.sum((0, 2, 3))
        return functional.cross_entropy(logits, y) + (1.0 - (2.0 * both + 1e-5) / (size + 1e-5)).mean()

    def make() -> tuple[Callable[[int], float], Turn, dict[str, Any]]:
        net = peer(task, name, Path(folder)).to(memory_format=layout).train()
        fused = {"fused": True} if last else {}
        optimizer = torch.optim.AdamW(net.parameters(), RATE, weight_decay=1e-4, **fused)
        data = [
            (torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).to(memory_format=layout), torch.from_numpy(y).long())
            for x, y in batches()
        ]
        work = operations(lambda: loss_of(net, *data[0]))
        objective = torch.compile(loss_of) if compiled else loss_of

        def step(index: int) -> float:
            optimizer.zero_grad(set_to_none=True)
            loss = objective(net, *data[index % len(data)])
            loss.backward()
            optimizer.step()
            return float(loss.item())

        number = sum(parameter.numel() for parameter in net.parameters())
        return step, timed(step), {"gflop": work, "parameters": number}

    def product(side: int) -> Callable[[], object]:
        a, b = (torch.rand(side, side).to(getattr(torch, precision)) for _ in "ab")
        return lambda: torch.mm(a, b)

    serve(make, threads, lambda: peak(product))


def exists(task: str, name: str) -> bool:
    """Whether the library of that name is installed and has that network; imports it, which is no part of a step."""
    if name.startswith("segmentation_models.pytorch") and installed("segmentation_models_pytorch"):
        return hasattr(segmentation_models(), SMP[task])
    if name.startswith("MONAI") and installed("monai"):
        importlib.import_module("monai.networks.nets")
        return task == "unet"
    return name.startswith("PyTorch")


def peer(task: str, name: str, folder: Path) -> Any:
    """The network of that name."""
    if name.startswith("PyTorch"):
        return described(folder)
    if name.startswith("segmentation_models.pytorch"):
        return getattr(segmentation_models(), SMP[task])("resnet34", encoder_weights=None, classes=CLASSES)
    from monai.networks.nets import FlexibleUNet

    return FlexibleUNet(3, CLASSES, "resnet34", pretrained=False)


def segmentation_models() -> Any:
    """The library, also beside a torchvision that was built for another PyTorch: its operators are not needed."""
    import torch

    while True:
        try:
            return importlib.import_module("segmentation_models_pytorch")
        except RuntimeError as error:
            missing = re.search(r"operator (torchvision::\w+) does not exist", str(error))
            if missing is None:
                raise
            torch.library.define(missing[1], "(Tensor x) -> Tensor")


def operations(loss_of: Callable[[], Any]) -> float:
    """Billions of multiplications and additions of a step in convolutions, forward and backward."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        loss_of().backward()
    return float(counter.get_total_flops()) / 1e9


def described(folder: Path) -> Any:
    """The network in `graph.json`, with the weights beside it."""
    import torch
    from torch import nn
    from torch.nn import functional

    graph = json.loads((folder / "graph.json").read_text("utf-8"))
    stored = np.load(folder / "weights.npz")

    def weights(node: dict[str, Any]) -> list[Any]:
        keys = sorted(key for key in stored.files if key.rsplit("/", 1)[0] == str(node["output"]))
        return [torch.from_numpy(stored[key]) for key in keys]

    def convolution(node: dict[str, Any], kernel: Any, bias: Any = None) -> nn.Module:
        grouped = node["kind"] == "DepthwiseConv2D"
        kernel = kernel.permute(2, 3, 0, 1) if grouped else kernel.permute(3, 2, 0, 1)
        rate, inside = node["dilation_rate"][0], len(kernel) if grouped else kernel.shape[1]
        padding = rate * (kernel.shape[-1] - 1) // 2 if node["padding"] == "same" else 0
        made = nn.Conv2d(
            inside, len(kernel), kernel.shape[-1], node["strides"][0], padding, rate,
            groups=len(kernel) if grouped else 1, bias=bias is not None,
        )  # fmt: skip
        made.weight.data.copy_(kernel)
        if bias is not None:
            made.bias.data.copy_(bias)
        return made

    def normalization(node: dict[str, Any], *values: Any) -> nn.Module:
        made = nn.BatchNorm2d(len(values[0]), eps=node["epsilon"], momentum=1 - node["momentum"])
        for place, value in zip((made.weight, made.bias, made.running_mean, made.running_var), values, strict=True):
            place.data.copy_(value)
        return made

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleDict()
            for node in graph["nodes"]:
                if node["kind"] in ("Conv2D", "DepthwiseConv2D"):
                    self.parts[str(node["output"])] = convolution(node, *weights(node))
                elif node["kind"] == "BatchNormalization":
                    self.parts[str(node["output"])] = normalization(node, *weights(node))
                elif node["kind"] == "Rescaling":
                    for key in ("scale", "offset"):
                        value = torch.tensor(node[key], dtype=torch.float32).reshape(1, -1, 1, 1)
                        self.register_buffer(key, value)

        def forward(self, image: Any) -> Any:
            values = {0: image}
            for node in graph["nodes"]:
                values[node["output"]] = self.one(node, *(values[number] for number in node["inputs"]))
            return values[graph["output"]]

        def one(self, node: dict[str, Any], x: Any, *others: Any) -> Any:
            kind = node["kind"]
            if str(node["output"]) in self.parts:
                return self.parts[str(node["output"])](x)
            if kind == "Activation":
                return functional.relu(x)
            if kind == "Add":
                return x + others[0]
            if kind == "Concatenate":
                return torch.cat([x, *others], 1)
            if kind == "Rescaling":
                return x * self.scale + self.offset
            if kind == "MaxPooling2D":
                return functional.max_pool2d(x, node["pool_size"][0], node["strides"][0])
            if kind == "ZeroPadding2D":
                return functional.pad(x, [node["padding"][0][0]] * 4)
            if kind == "UpSampling2D":
                return functional.interpolate(x, scale_factor=2, mode="nearest")
            if kind == "Dropout":
                return functional.dropout(x, node["rate"], self.training)
            if kind == "GlobalAveragePooling2D":
                return x.mean((2, 3), keepdim=True)
            if kind == "ZerosLike":
                return torch.zeros_like(x)
            if kind == "Resize":
                return functional.interpolate(x, others[0].shape[2:], mode="bilinear")
            raise NotImplementedError(kind)

    return Network()


def installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


if __name__ == "__main__":
    main(*sys.argv[1:5], threads=int(sys.argv[5]))
