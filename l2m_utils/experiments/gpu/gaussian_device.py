"""The hierarchical Gaussian of :mod:`l2m_utils.sources.gaussian` drawn on a device: data of many steps in a few hundred kernels.

Layer by layer in float64 as there, with the same maps; what a model reads is float32.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from l2m_utils.sources.gaussian import _UNMIXING, HierarchicalGaussian, _layer_maps
from l2m_utils.sources.gaussian_splits import MIXING


class DeviceGaussian:
    """``HierarchicalGaussian.from_length(length, family)`` on ``device``; raises what that raises.

    >>> source = DeviceGaussian(16, torch.device("cpu"))
    >>> values, means = source.batch(5, 2, torch.Generator().manual_seed(0))
    >>> values.shape, means.dtype
    (torch.Size([5, 16, 2]), torch.float32)
    """

    def __init__(self, length: int, device: torch.device, family: str = "sub-volume"):
        self.exact = HierarchicalGaussian.from_length(length, family)
        self.length, self.layers, self.copies, self.device = length, self.exact.layers, self.exact.copies, device
        put = lambda array: torch.from_numpy(np.array(array)).to(device)
        self.maps = [None] + [
            tuple(put(array) for array in _layer_maps(layer, self.copies)) for layer in range(1, self.layers + 1)
        ]
        self.mixing, self.unmixing = put(MIXING), put(_UNMIXING)
        self.std = put(self.exact.deviations()).float()

    def values(self, noise: Tensor) -> Tensor:
        """Independent standard normals (n, L), float64, to sequences (n, L)."""
        return self._forward(noise, self.layers)

    def means(self, values: Tensor) -> Tensor:
        """Exact mean (n, L) of each value given those before it, from values (n, L) in float64."""
        return self._predict(values, self.layers)[:, 1:, 0]

    def batch(self, sequences: int, copies: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Stacked values and their exact means (sequences, L, copies) in float32; ``generator`` is one of the device."""
        noise = torch.randn(
            sequences * copies, self.length, generator=generator, device=self.device, dtype=torch.float64
        )
        values = self.values(noise)
        stacked = (
            part.view(sequences, copies, self.length).transpose(1, 2).float().contiguous()
            for part in (values, self.means(values))
        )
        return tuple(stacked)

    def _forward(self, noise: Tensor, layer: int) -> Tensor:
        if layer == 0:
            return noise
        n, count, copies = len(noise), noise.shape[1] // 4, self.copies
        inherited = self._forward(noise[:, : copies * count].reshape(n * copies, count), layer - 1)
        fresh = noise[:, copies * count :].reshape(n, count, 4 - copies)
        values = torch.cat([inherited.view(n, copies, count).transpose(1, 2), fresh], dim=2) @ self.mixing.T
        a, b = (line[1:-1] for line in self.maps[layer][:2])
        last, first = values[:, :-1, 3].clone(), values[:, 1:, 0].clone()
        values[:, :-1, 3] = a * last + b * first
        values[:, 1:, 0] = b * last + a * first
        return values.reshape(n, 4 * count)

    def _predict(self, values: Tensor, layer: int) -> Tensor:
        """E[(Z_p, Z_{p+1}) | Z_{<p}] for p = −1 … L−1, (n, L + 1, 2), from the same quantity one layer below."""
        n, copies = len(values), self.copies
        if layer == 0:
            return values.new_zeros(n, 2, 2)
        count = values.shape[1] // 4
        after = values.reshape(n, count, 4)
        a, b, factor, scale = self.maps[layer]
        before, inner_a, inner_b = after.clone(), a[1:-1], b[1:-1]
        gap = inner_a**2 - inner_b**2
        before[:, :-1, 3] = (inner_a * after[:, :-1, 3] - inner_b * after[:, 1:, 0]) / gap
        before[:, 1:, 0] = (inner_a * after[:, 1:, 0] - inner_b * after[:, :-1, 3]) / gap
        inherited = (before @ self.unmixing[:copies].T).transpose(1, 2).reshape(n * copies, count)
        below = self._predict(inherited, layer - 1).view(n, copies, count + 1, 2)
        first = torch.einsum("xc,ncw->xnw", self.mixing[:, :copies], below[..., 0])
        second = torch.einsum("xc,ncw->xnw", self.mixing[:2, :copies], below[..., 1])
        expected = [*first[:3], a * first[3] + b * second[0], b * first[3] + a * second[0], second[1]]
        result = values.new_empty(n, count + 1, 4, 2)
        for j in range(5):
            if j > 0:
                result[:, :, j - 1, 0], result[:, :, j - 1, 1] = expected[j], expected[j + 1]
            if j < 4:
                seen = after[:, :, 3] if j == 3 else before[:, :, j]
                innovation = torch.nn.functional.pad((seen - expected[j][:, 1:]) * scale[1:, j], (1, 0))
                for later in range(j + 1, 6):
                    expected[later] = expected[later] + factor[:, later, j] * innovation
        return result.reshape(n, 4 * count + 4, 2)[:, 2 : 4 * count + 3]
