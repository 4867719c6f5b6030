"""The backbone of the authors' network in PyTorch, see `torch_twin`."""

from __future__ import annotations

from torch import nn
from torch.nn import functional as F

EXCHANGES = {2: 1, 3: 4, 4: 3}  # modules of each stage of HRNet


def conv_norm(inputs, outputs, size, stride=1, bias=False, relu=True):
    layers = [
        nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=bias),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, nn.ReLU()) if relu else nn.Sequential(*layers)


class BasicBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        for i in (1, 2):
            setattr(self, f"conv{i}", nn.Conv2d(channels, channels, 3, 1, 1, bias=False))
            setattr(self, f"bn{i}", nn.BatchNorm2d(channels))

    def forward(self, x):
        return F.relu(x + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


class Bottleneck(nn.Module):
    def __init__(self, inputs, channels):
        super().__init__()
        shapes = ((inputs, channels, 1), (channels, channels, 3), (channels, 4 * channels, 1))
        for i, (a, b, size) in enumerate(shapes, start=1):
            setattr(self, f"conv{i}", nn.Conv2d(a, b, size, 1, size // 2, bias=False))
            setattr(self, f"bn{i}", nn.BatchNorm2d(b))
        self.downsample = (
            conv_norm(inputs, 4 * channels, 1, relu=False) if inputs != 4 * channels else None
        )

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class HighResolutionModule(nn.Module):
    def __init__(self, channels, depth):
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(c) for _ in range(depth))) for c in channels
        )
        indices = range(len(channels))
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(self._fuse(channels, i, j) for j in indices) for i in indices
        )

    def _fuse(self, channels, i, j):
        if j == i:
            return None
        if j > i:
            up = nn.Upsample(scale_factor=2 ** (j - i), mode="nearest")
            return nn.Sequential(*conv_norm(channels[j], channels[i], 1, relu=False), up)
        last = conv_norm(channels[j], channels[i], 3, 2, relu=False)
        return nn.Sequential(
            *(conv_norm(channels[j], channels[j], 3, 2) for _ in range(i - j - 1)), last
        )

    def forward(self, xs):
        xs = [branch(x) for branch, x in zip(self.branches, xs, strict=True)]
        return [
            F.relu(sum(x if layer is None else layer(x) for layer, x in zip(row, xs, strict=True)))
            for row in self.fuse_layers
        ]


class HighResolutionNet(nn.Module):
    def __init__(self, width, depth, features):
        super().__init__()
        w = width
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 3, 2, 1, bias=False), nn.BatchNorm2d(64)
        self.conv2, self.bn2 = nn.Conv2d(64, 64, 3, 2, 1, bias=False), nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(
            Bottleneck(64, 64), *(Bottleneck(256, 64) for _ in range(depth - 1))
        )
        self.transition1 = nn.ModuleList(
            [conv_norm(256, w, 3), nn.Sequential(conv_norm(256, 2 * w, 3, 2))]
        )
        self.transition2 = nn.ModuleList([None, None, nn.Sequential(conv_norm(2 * w, 4 * w, 3, 2))])
        self.transition3 = nn.ModuleList(
            [None, None, None, nn.Sequential(conv_norm(4 * w, 8 * w, 3, 2))]
        )
        for stage, count in EXCHANGES.items():
            modules = (
                HighResolutionModule([w * 2**b for b in range(stage)], depth) for _ in range(count)
            )
            setattr(self, f"stage{stage}", nn.Sequential(*modules))
        self.incre_modules = nn.ModuleList(
            nn.Sequential(Bottleneck(w * 2**b, 32 * 2**b)) for b in range(4)
        )
        self.downsamp_modules = nn.ModuleList(
            conv_norm(128 * 2**b, 256 * 2**b, 3, 2, bias=True) for b in range(3)
        )
        self.final_layer = conv_norm(1024, features, 1, bias=True)
        self.classifier = nn.Linear(features, 1000)

    def forward(self, x):
        x = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        xs = [self.layer1(x)]
        for stage in EXCHANGES:
            layers = getattr(self, f"transition{stage - 1}")
            xs = [
                xs[min(i, len(xs) - 1)] if layer is None else layer(xs[-1])
                for i, layer in enumerate(layers)
            ]
            xs = getattr(self, f"stage{stage}")(xs)
        y = self.incre_modules[0](xs[0])
        for down, incre, x in zip(
            self.downsamp_modules, self.incre_modules[1:], xs[1:], strict=True
        ):
            y = incre(x) + down(y)
        return self.final_layer(y)
