"""How far magnitudes of the spectrum are from those of speech, at several resolutions.

Yamamoto, Song & Kim 2020 (Parallel WaveGAN), section 2.2: the spectral convergence and the L1 distance of log
magnitudes, averaged over three window lengths. Errors of phase, of which a mel says nothing, cost little here.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Window, FFT size and hop, in samples: 64, 32 and 16 ms at 16 kHz with hops of a quarter.
RESOLUTIONS = (1024, 512, 256)
_OVERLAP = 4
# Smallest power, of Parallel WaveGAN's own code: below it logarithms say nothing that can be heard.
_POWER_FLOOR = 1e-7


def multi_resolution_loss(estimate: Tensor, reference: Tensor) -> Tensor:
    """Spectral convergence plus log-magnitude distance of each example, mean over resolutions, shape ``[B]``.

    Args:
        estimate, reference: waveforms, float32, shape ``[B, N]``; windows longer than ``N`` are left out, but for the
            shortest one that there is.
    """
    sizes = [size for size in RESOLUTIONS if size <= estimate.shape[-1]] or [RESOLUTIONS[-1]]
    return torch.stack([_one_resolution(estimate, reference, size) for size in sizes]).mean(dim=0)


def _one_resolution(estimate: Tensor, reference: Tensor, size: int) -> Tensor:
    """Equations 4 to 6 for one window, ``[B]``."""
    found, wanted = (_magnitude(wav, size) for wav in (estimate, reference))  # [B, K, F]
    # vector_norm has a gradient (of zero) where the difference is zero; a root of a sum would have none.
    norms = torch.linalg.vector_norm(wanted - found, dim=(1, 2)), torch.linalg.vector_norm(wanted, dim=(1, 2))
    distance = (wanted.log() - found.log()).abs().mean(dim=(1, 2))
    loss: Tensor = norms[0] / norms[1] + distance
    return loss


def _magnitude(wav: Tensor, size: int) -> Tensor:
    """STFT magnitude ``[B, K, F]``, never quite zero."""
    window = torch.hann_window(size, dtype=wav.dtype, device=wav.device)
    mode = "reflect" if wav.shape[-1] > size // 2 else "constant"
    spectrum = torch.stft(wav, size, size // _OVERLAP, size, window, pad_mode=mode, return_complex=True)
    power = spectrum.real.square() + spectrum.imag.square()
    return power.clamp_min(_POWER_FLOOR).sqrt()
