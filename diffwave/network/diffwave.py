"""DiffWave's network: a dilated-convolution stack that predicts noise (Kong et al. 2021, figure 2).

Letters: ``B`` batch, ``N`` audio samples, ``F`` mel frames, ``M`` mel bands, ``C`` residual channels, ``L``
residual layers, ``T`` diffusion steps, ``P = N / squeeze`` positions of the residual stack. ``N = F * hop``.

With ``squeeze=1`` this is the paper's network, and parameter names are those of lmnt-com/diffwave, so its
weights load as they are. Beyond the paper: ``squeeze`` (the stack runs on overlapping groups of samples),
normalisation of the mel, and upsampling factors that follow from the hop.

The condition is computed once for an utterance (``condition``), not at every diffusion step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffwave.config import ModelConfig, NetworkConfig
from diffwave.kernels.layers import Backend, ResidualLayer, Stack
from diffwave.kernels.reference import Reference
from diffwave.network.upsampling import MelUpsampler

_EMBEDDING_FREQUENCIES = 64
_EMBEDDING_WIDTH = 512


@dataclass(frozen=True, eq=False)
class Condition:
    """What the network needs of a mel, ready for every diffusion step.

    Args:
        mel: upsampled mel, shape ``[B, M, P]``.
        mask: 1 inside and 0 beyond the end of each example, shape ``[B, 1, P]``; None if all are equally long.
        stack: the residual layers made ready for this mel, by :meth:`DiffWave.prepare`; without it, every step does
            that anew.
    """

    mel: Tensor
    mask: Tensor | None = None
    stack: Stack | None = None

    @classmethod
    def joined(cls, alone: Sequence[Condition]) -> Condition:
        """Conditions ``[1, M, P_i]`` of different lengths in one batch, each example as if it were alone."""
        longest = max(one.mel.shape[-1] for one in alone)
        padded = torch.cat([F.pad(one.mel, (0, longest - one.mel.shape[-1])) for one in alone])
        ends = torch.tensor([one.mel.shape[-1] for one in alone], device=padded.device)
        inside = torch.arange(longest, device=padded.device) < ends[:, None]  # [B, P]
        return cls(padded, mask=inside.unsqueeze(1).to(padded.dtype))


class DiffusionEmbedding(nn.Module):
    """Embed a (fractional) diffusion step (DiffWave, section 3.1 and equation 8).

    Sines and cosines of ``step * 10 ** (4 i / 63)`` at whole steps, linearly interpolated between them, through
    two SiLU layers.

    Args:
        steps: ``T``.
    """

    table: Tensor

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.register_buffer("table", self._build_table(steps), persistent=False)
        self.projection1 = nn.Linear(2 * _EMBEDDING_FREQUENCIES, _EMBEDDING_WIDTH)
        self.projection2 = nn.Linear(_EMBEDDING_WIDTH, _EMBEDDING_WIDTH)

    def forward(self, step: Tensor) -> Tensor:
        """Embed steps ``[B]`` in ``[0, T - 1]`` as ``[B, 512]``."""
        return F.silu(self.projection2(F.silu(self.projection1(self.encode(step)))))

    def encode(self, step: Tensor) -> Tensor:
        """Sines and cosines of steps ``[B]``, ``[B, 128]``."""
        last = self.table.shape[0] - 1
        low = step.floor().long().clamp(0, last)
        high = (low + 1).clamp(max=last)
        weight = (step - low).to(self.table.dtype).unsqueeze(-1)  # [B, 1]
        return torch.lerp(self.table[low], self.table[high], weight)

    @staticmethod
    def _build_table(steps: int) -> Tensor:
        step = torch.arange(steps).unsqueeze(1)  # [T, 1]
        exponent = torch.arange(_EMBEDDING_FREQUENCIES) * 4.0 / (_EMBEDDING_FREQUENCIES - 1)
        angle = step * 10.0**exponent  # [T, 64]
        return torch.cat([angle.sin(), angle.cos()], dim=1)


def overlap_add(windows: Tensor, stride: int) -> Tensor:
    """Lay windows over each other and add, centred: what a transposed convolution does after its product.

    Args:
        windows: shape ``[B, P, K]``, ``K`` a multiple of ``stride``.
        stride: from one window to the next; what stands out on both sides is cut off.

    Returns:
        Shape ``[B, P * stride]``.
    """
    examples, positions, kernel = windows.shape
    count = kernel // stride
    parts = windows.reshape(examples, positions, count, stride)
    if count == 1:
        return parts.reshape(examples, -1)
    # Part j of window p lies at stride p + j.
    laid = torch.stack([F.pad(parts[:, :, j], (0, 0, j, count - 1 - j)) for j in range(count)]).sum(dim=0)
    margin = (kernel - stride) // 2
    return laid.reshape(examples, -1)[:, margin : margin + positions * stride]


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Conv1d:
    """Convolution with He initialisation that keeps ``P`` (at stride 1) or divides it exactly."""
    padding = (kernel - stride) // 2 if stride > 1 else dilation * (kernel // 2)
    convolution = nn.Conv1d(inputs, outputs, kernel, stride=stride, padding=padding, dilation=dilation)
    nn.init.kaiming_normal_(convolution.weight)
    return convolution


class ResidualBlock(nn.Module):
    """Parameters of one residual layer (DiffWave, figure 2a); the arithmetic is in ``diffwave.kernels``.

    Args:
        n_mels: ``M``.
        channels: ``C``.
        dilation: of the bidirectional convolution.
        padding: what it sees beyond the ends, ``zeros`` or ``reflect``.
    """

    def __init__(self, n_mels: int, channels: int, dilation: int, padding: str = "zeros") -> None:
        super().__init__()
        self.dilation, self.padding = dilation, padding
        self.dilated_conv = _convolution(channels, 2 * channels, 3, dilation=dilation)
        self.diffusion_projection = nn.Linear(_EMBEDDING_WIDTH, channels)
        self.conditioner_projection = _convolution(n_mels, 2 * channels, 1)
        self.output_projection = _convolution(channels, 2 * channels, 1)

    def weights(self) -> ResidualLayer:
        """What a kernel needs: the parameters themselves, not copies."""
        convolutions = (self.dilated_conv, self.conditioner_projection, self.output_projection)
        dilated, condition, output = ((layer.weight, _bias(layer)) for layer in convolutions)
        return ResidualLayer(*dilated, *condition, *output, self.dilation, self.padding)


def _bias(convolution: nn.Conv1d) -> Tensor:
    assert convolution.bias is not None
    return convolution.bias


class DiffWave(nn.Module):
    """The network: ``(noisy waveform, diffusion step, condition) -> predicted noise``.

    Args:
        config: the whole model, since channels, hop and number of steps all shape the network.

    ``backend`` runs the residual layers and may be replaced at any time; it is no part of the weights.
    """

    backend: Backend

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.backend = Reference()
        network, mel = config.network, config.mel
        channels = network.residual_channels
        self.config = network
        self.n_mels = mel.n_mels
        self.hop_length = mel.hop_length
        self.input_projection = self._input_convolution(network)
        self.diffusion_embedding = DiffusionEmbedding(config.diffusion.steps)
        self.spectrogram_upsampler = MelUpsampler(mel.hop_length // network.squeeze)
        self.residual_layers = nn.ModuleList(
            ResidualBlock(mel.n_mels, channels, 2 ** (i % network.dilation_cycle), network.padding)
            for i in range(network.residual_layers)
        )
        self.skip_projection = _convolution(channels, channels, 1)
        self.output_projection = self._output_convolution(network)
        nn.init.zeros_(self.output_projection.weight)

    @staticmethod
    def _input_convolution(network: NetworkConfig) -> nn.Conv1d:
        kernel = network.squeeze * network.squeeze_overlap
        return _convolution(1, network.residual_channels, kernel, stride=network.squeeze)

    @staticmethod
    def _output_convolution(network: NetworkConfig) -> nn.Conv1d | nn.ConvTranspose1d:
        squeeze, kernel = network.squeeze, network.squeeze * network.squeeze_overlap
        if kernel == 1:
            return nn.Conv1d(network.residual_channels, 1, 1)
        return nn.ConvTranspose1d(network.residual_channels, 1, kernel, stride=squeeze, padding=(kernel - squeeze) // 2)

    def condition(self, mel: Tensor) -> Condition:
        """Upsample a mel once for all diffusion steps.

        Args:
            mel: log-mel, shape ``[B, M, F]``.
        """
        normalised = (mel - self.config.condition_mean) / self.config.condition_std
        return Condition(self.spectrogram_upsampler(normalised))

    def prepare(self, condition: Condition, calls: int) -> Condition:
        """Make the residual layers ready for a condition that will be used ``calls`` times.

        What can be computed once is, such as the projections of the mel: a sixth (C = 96) to a quarter (C = 64) of the
        arithmetic of every step. Later changes of weights may or may not be seen.
        """
        stack = self.backend.stack(self.layers(), condition.mel, condition.mask, calls)
        return replace(condition, stack=stack)

    def layers(self) -> list[ResidualLayer]:
        """Weights of the residual layers, from first to last."""
        return [block.weights() for block in self._blocks()]

    def _blocks(self) -> list[ResidualBlock]:
        return [block for block in self.residual_layers if isinstance(block, ResidualBlock)]

    def forward(self, noisy: Tensor, step: Tensor, condition: Condition, shifts: Tensor | None = None) -> Tensor:
        """Predict the noise (or, by ``parameterization``, the velocity or the clean signal).

        Args:
            noisy: noisy waveform, shape ``[B, N]``.
            step: diffusion step of each example, may be fractional, shape ``[B]``, or ``[1]`` for all.
            condition: of mels with ``N / hop_length`` frames, from :meth:`condition`.
            shifts: of these steps, from :meth:`shifts`, where they are known already, shape ``[B, L, C]``.

        Returns:
            Shape ``[B, N]``.

        Raises:
            ValueError: if waveform and condition differ in length.
        """
        positions = condition.mel.shape[-1]
        if noisy.shape[-1] != positions * self.config.squeeze:
            raise ValueError(
                f"network: expected {positions * self.config.squeeze} samples, "
                f"{positions * self.config.squeeze // self.hop_length} mel frames of {self.hop_length}; "
                f"got {noisy.shape[-1]}"
            )
        mask = condition.mask
        if mask is not None:
            noisy = noisy * mask.repeat_interleave(self.config.squeeze, dim=-1)[:, 0]
        x = F.relu(self.enter(noisy))
        stack = condition.stack or self.backend.stack(self.layers(), condition.mel, mask, calls=1)
        shifts = self.shifts(step) if shifts is None else shifts
        total = stack(x, shifts.expand(len(x), -1, -1))  # [B, C, P]
        return self.leave(self.hidden(total, mask))

    def enter(self, noisy: Tensor) -> Tensor:
        """The input convolution ``[B, N] -> [B, C, P]``, as one product of all its windows with the kernel.

        A convolution of a single channel is slow in every library; its windows are few numbers more than the samples.
        """
        kernel, stride = self.input_projection.kernel_size[0], self.config.squeeze
        margin = (kernel - stride) // 2
        windows = F.pad(noisy, (margin, margin)).unfold(-1, kernel, stride)  # [B, P, K]
        return F.linear(windows, self.input_projection.weight[:, 0], self.input_projection.bias).transpose(1, 2)

    def hidden(self, total: Tensor, mask: Tensor | None) -> Tensor:
        """What the output layer sees of the skip connections, ``[B, C, P] -> [B, P, C]``.

        In the layout that the residual layers have left, for their gradients come back in it: a kernel's channels lie
        side by side, those of PyTorch's convolutions apart.
        """
        total = total * self.config.residual_layers**-0.5
        if total.is_contiguous():
            x = self.skip_projection(total).transpose(1, 2)
        else:
            x = F.linear(total.transpose(1, 2), self.skip_projection.weight[..., 0], self.skip_projection.bias)
        x = F.relu(x)
        return x if mask is None else x * mask.transpose(1, 2)

    def leave(self, hidden: Tensor) -> Tensor:
        """The output layer ``[B, P, C] -> [B, N]``: one product, then overlapping windows."""
        weight, bias = self.output_projection.weight, self.output_projection.bias
        assert bias is not None
        # [C, 1, K], or [1, C, 1] in the paper's network
        product = weight[:, 0] if isinstance(self.output_projection, nn.ConvTranspose1d) else weight[0]
        return overlap_add(hidden @ product, self.config.squeeze) + bias

    def shifts(self, step: Tensor) -> Tensor:
        """What each layer adds to its input at these diffusion steps ``[B]``, shape ``[B, L, C]``."""
        return self.project(self.diffusion_embedding(step))

    def project(self, embedding: Tensor) -> Tensor:
        """The embedding of steps ``[B, 512]`` for each layer, ``[B, L, C]``."""
        return torch.stack([block.diffusion_projection(embedding) for block in self._blocks()], dim=1)
