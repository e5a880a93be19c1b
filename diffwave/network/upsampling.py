"""From the rate of mel frames to that of the residual stack (DiffWave, appendix C).

Letters as in ``diffwave.network.diffwave``: ``B`` batch, ``M`` mel bands, ``F`` mel frames.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LEAKY_SLOPE = 0.4


class MelUpsampler(nn.Module):
    """Stretch a mel to the rate of the residual stack with two transposed convolutions (DiffWave, appendix C).

    Args:
        factor: positions per mel frame; split into two factors as equal as possible (256 = 16 * 16).
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        first, second = upsampling_factors(factor)
        self.conv1 = _upsampling_convolution(first)
        self.conv2 = _upsampling_convolution(second)

    def forward(self, mel: Tensor) -> Tensor:
        """Upsample ``[B, M, F]`` to ``[B, M, F * factor]``."""
        x = F.leaky_relu(_stretch(self.conv1, mel), _LEAKY_SLOPE)
        return F.leaky_relu(_stretch(self.conv2, x), _LEAKY_SLOPE)


def _stretch(convolution: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """Transposed convolution over bands and time ``[B, M, F] -> [B, M, F * stride]``, as one product.

    With ``2 * stride`` taps, the ``stride`` outputs between two frames see these frames alone, in three bands: six
    numbers. A convolution of a single channel is slow in every library.
    """
    stride, margin = convolution.stride[1], convolution.padding[1]
    if stride == 1:
        plain: Tensor = convolution(x.unsqueeze(1))
        return plain.squeeze(1)
    examples, bands, frames = x.shape
    assert isinstance(margin, int)
    assert convolution.bias is not None
    padded = F.pad(x, (1, 1, 1, 1))
    seen = [padded[:, band : band + bands, frame : frame + frames + 1] for band in (2, 1, 0) for frame in (1, 0)]
    taps = convolution.weight[0, 0].view(6, stride)  # [3, 2 stride]: of each band the later frame's, the earlier one's
    between = torch.stack(seen, dim=-1) @ taps  # [B, M, F + 1, stride]
    laid = between.reshape(examples, bands, -1)
    return laid[..., margin : margin + frames * stride] + convolution.bias


def upsampling_factors(factor: int) -> tuple[int, int]:
    """Split ``factor`` into two whole factors, as equal as possible, the smaller first.

    >>> [upsampling_factors(hop) for hop in (200, 256, 300, 320)]
    [(10, 20), (16, 16), (15, 20), (16, 20)]
    """
    first = max(d for d in range(1, math.isqrt(factor) + 1) if factor % d == 0)
    return first, factor // first


def _upsampling_convolution(stride: int) -> nn.ConvTranspose2d:
    """Kernel 3 over bands and two strides over time; the length is multiplied by exactly ``stride``."""
    odd = stride % 2
    # Stride 1 (a prime factor has no other partner) cannot be padded on one side: three symmetric taps instead.
    width, extra = (3, 0) if stride == 1 else (2 * stride, odd)
    convolution = nn.ConvTranspose2d(
        1,
        1,
        (3, width),
        stride=(1, stride),
        padding=(1, (stride + odd) // 2),
        output_padding=(0, extra),
    )
    nn.init.kaiming_normal_(convolution.weight)
    return convolution
