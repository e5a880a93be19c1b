"""One way to make waveforms of mels: the sampler, what guides it, and how an utterance is divided.

Without mel consistency a sample depends on no more than the network's receptive field, once for each call. A block
that looks that far is the same as the utterance in one piece, to float rounding.

Mel consistency has no such bound: every iteration carries phases further by a frame. There a block looks only a little
beyond its ends, and goes on from the waveform before it, which is held in every step; its phases follow from those
(RTISI-LA: Zhu, Beauregard & Wyse 2007, with a network between the iterations). What an utterance sounds like is then
*defined* block by block, whether it is there from the start or arrives in parts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from diffwave.config import DiffusionConfig
from diffwave.devices import out_of_memory
from diffwave.diffusion.sampler import Callback
from diffwave.dsp.blocks import Block, Layout, rising, windows
from diffwave.dsp.noise import white_noise
from diffwave.mel.consistency import MOMENTUM_FROM_NOISE, MelConsistency, held
from diffwave.mel.prior import make_prior
from diffwave.mel.spectrogram import MelSpectrogram
from diffwave.network.protocol import VocoderRefiner
from diffwave.synthesis.denoising import Denoiser
from diffwave.synthesis.domains import Domain, ForeignDomain, OwnDomain, Window
from diffwave.synthesis.graphs import Graphs
from diffwave.synthesis.guidance import MelGuide
from diffwave.synthesis.resolved import ResolvedSynthesis

# An utterance of up to so many frames (half a minute at 16 kHz) is one block where that makes no difference.
_AT_ONCE = 2048
# Frames that the upsampler mixes with their neighbours: one for each of its two convolutions.
_UPSAMPLER = 2
# Frames over which a block takes over from what the block before made of them: a click would be heard otherwise.
_FADE = 4
# Twice the paper's largest dilation, in frames of 256 samples: two outputs of a dilated convolution are made together.
_STRETCH = 4


@dataclass(frozen=True, eq=False)
class Synthesis:
    """From mels to waveforms, with all choices made.

    Args:
        denoiser: the network and its process.
        front_end: the convention of the mels.
        own: the network's convention.
        diffusion: what the prior is made from.
        how: sampler, seed, and what is asked of consistency, refiner and blocks.
        refiner: of the model, if there is one.
        graphs: recorded samplers, on a GPU.
    """

    denoiser: Denoiser
    front_end: MelSpectrogram
    own: MelSpectrogram
    diffusion: DiffusionConfig
    how: ResolvedSynthesis
    refiner: VocoderRefiner | None = None
    graphs: Graphs | None = None

    def layout(self, streamed: bool) -> Layout:
        """How utterances are divided; without consistency, ones that are there from the start need not be."""
        context = self.context
        if self.goes_on:
            first, longest = self.how.sampling.first_block_frames, self.how.sampling.block_frames
            lengths = rising(self._theirs(first), self._theirs(longest))
        else:
            # Twice the context on either side: half of the work is done twice.
            longest = max(2 * context, self.how.sampling.block_frames if streamed else _AT_ONCE)
            lengths = rising(self.how.sampling.first_block_frames, longest) if streamed else (longest,)
        return Layout(lengths, context, context)

    @property
    def context(self) -> int:
        """Frames on each side of a block that it looks at."""
        # Kernels work on stretches of positions; where blocks begin at the same place in a stretch they round alike.
        return -(-self._needed // _STRETCH) * _STRETCH

    @property
    def _needed(self) -> int:
        if self.foreign:
            return self._theirs(self._own_context) + 1
        return self._own_context

    @property
    def _own_context(self) -> int:
        """In frames of the network."""
        mel, network = self.own.config, self.denoiser.network.config
        filters = 0 if self.diffusion.prior == "standard" else 1 - (-mel.n_fft // mel.hop_length)
        # The past is held in every call if guided, so that the calls' fields do not add up.
        calls = 1 if self.how.sampling.guided else len(self.how.sampler)
        reach = _UPSAMPLER + filters - (-calls * network.receptive_field // mel.hop_length)
        if not self.goes_on:
            return reach
        if self.how.sampling.guided:
            return max(self.how.sampling.context_frames, reach)
        return reach + self.how.sampling.context_frames

    @property
    def foreign(self) -> bool:
        """Whether the mels are not the network's own."""
        return self.front_end is not self.own

    @property
    def goes_on(self) -> bool:
        """Whether a block goes on from the waveform before it; else what it looks at tells everything."""
        return self.foreign or self.how.sampling.consistency_iterations > 0

    def _theirs(self, frames: int) -> int:
        """The network's frames as the mels', as long or longer."""
        if not self.foreign:
            return frames
        theirs, ours = self.front_end.config, self.own.config
        return -(-frames * ours.hop_length * theirs.sample_rate // (ours.sample_rate * theirs.hop_length))

    def speak(
        self,
        mels: Sequence[Tensor],
        first: int = 0,
        pasts: Sequence[Tensor] = (),
        hold: Tensor | None = None,
        callback: Callback | None = None,
    ) -> list[Tensor]:
        """Synthesize a window of each utterance, all from the same frame on.

        Args:
            mels: groups ``[b, M, F_i]``.
            first: frame of the utterance where the windows start.
            pasts, hold: how the waveforms of each group begin, ``[b, n]``, and how much of that they keep, if
                consistency is to go on from them.
            callback: shown states and clean estimates, as waveforms; of one group.

        Returns:
            Waveforms ``[b, F_i * hop_length]``.
        """
        domains = [self._domain(mel, first, pasts[i] if pasts else None, hold) for i, mel in enumerate(mels)]
        refiner = None if self.foreign else self.refiner
        targets = list(zip(mels, domains, strict=True))
        guide = MelGuide(self.front_end, targets, self.how.sampling, refiner, pasts, hold)
        examples = [example for domain in domains for example in domain.mel]
        alone = len(mels) == 1
        condition = self.denoiser.condition(domains[0].mel) if alone else self.denoiser.condition_batch(examples)
        if self.graphs is None or callback is not None or first or self.foreign or self.how.sampling.guided:
            # A graph is made for a range of lengths and for one start; what guides depends on the exact ones.
            guided = guide if self.how.sampling.guided else None
            shown = _as_waveforms(callback, domains[0])
            start = self._window(first, mels[0]).first_frame * self.own.config.hop_length
            return guide.finish(self.denoiser(condition, self.how.sampler, self.how.seed, shown, None, guided, start))
        return guide.finish(self.graphs(condition, self.how.sampler, self.how.seed))

    def _window(self, first: int, mel: Tensor) -> Window:
        theirs = self.front_end.config
        begin, end = first * theirs.hop_length, (first + mel.shape[-1]) * theirs.hop_length
        return Window(theirs, self.own.config, begin, end)

    def _domain(self, mel: Tensor, first: int, past: Tensor | None, hold: Tensor | None) -> Domain:
        """What a group of mels ``[b, M, F]`` from a frame on is heard in."""
        window = self._window(first, mel)
        if not self.foreign:
            return OwnDomain(mel, make_prior(self.diffusion, self.own, mel), window.end - window.begin)
        # Numbers of their own: streams 0 to steps + 1 are the sampler's.
        stream, samples = len(self.how.sampler) + 2, window.end - window.begin
        noise = white_noise(self.how.seed, stream, samples, window.begin, mel.device).expand(len(mel), -1)
        wav = make_prior(replace(self.diffusion, prior="spectral"), self.front_end, mel).color(noise)
        if past is not None and hold is not None:
            wav = held(wav, past, hold)
        consistency = MelConsistency(self.front_end, MOMENTUM_FROM_NOISE)
        estimate = consistency(wav, mel, self.how.sampling.warm_iterations, hold)
        return ForeignDomain(window, estimate, self.own, self.diffusion)

    def whole(self, mels: Sequence[Tensor]) -> list[Tensor]:
        """Synthesize utterances that are there from the start.

        Args:
            mels: groups ``[b, M, F_i]``.

        Returns:
            Waveforms ``[b, F_i * hop_length]``.
        """
        layout = self.layout(streamed=False)
        divided = [layout.divide(mel.shape[-1]) for mel in mels]
        done = [_Waveform() for _ in mels]
        for index in range(max(map(len, divided))):
            # Blocks of the same number start at the same frame, so that one noise is right for all.
            there = [i for i, blocks in enumerate(divided) if index < len(blocks)]
            blocks = [divided[i][index] for i in there]
            windows = [mels[i][..., block.start : block.stop].clone() for i, block in zip(there, blocks, strict=True)]
            self._extend([done[i] for i in there], blocks, windows)
        return [torch.cat(waveform.pieces, dim=1) for waveform in done]

    def stream(self, parts: Iterable[Tensor]) -> Iterator[Tensor]:
        """Synthesize an utterance that comes in parts.

        Args:
            parts: of the mel, in order, each ``[1, M, F_i]``.

        Yields:
            The waveform in pieces ``[1, n_i]``, as soon as each is known.

        Raises:
            MemoryError: if a block does not fit into memory.
        """
        waveform = _Waveform()
        for block, window in windows(self.layout(streamed=True), parts):
            try:
                with torch.inference_mode():
                    self._extend([waveform], [block], [window])
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                reason = f"stream: expected a block to fit into the memory of {window.device}; it does not"
                raise MemoryError(reason) from None
            yield waveform.pieces.pop()

    def _extend(self, waveforms: Sequence[_Waveform], blocks: Sequence[Block], windows: Sequence[Tensor]) -> None:
        """Add blocks that start at the same frame to the waveforms.

        Args:
            waveforms: so far.
            blocks: what comes next of each.
            windows: their mels, ``[b, M, stop - start]``.
        """
        start, begin, hop = blocks[0].start, blocks[0].begin, self.front_end.config.hop_length
        going_on = self.goes_on and begin > 0
        pasts = [waveform.tail for waveform in waveforms if waveform.tail is not None] if going_on else []
        wavs = self.speak(windows, start, pasts, self._hold(begin - start) if going_on else None)
        for waveform, block, wav in zip(waveforms, blocks, wavs, strict=True):
            new = wav[:, (begin - start) * hop :]
            waveform.pieces.append(new[:, : (block.end - begin) * hop])
            known = new if waveform.tail is None else torch.cat([waveform.tail[:, : (begin - start) * hop], new], dim=1)
            next_start = max(0, block.end - self.context)
            # A copy, so that the rest of the window can go.
            waveform.tail = known[:, (next_start - start) * hop : (block.end + _FADE - start) * hop].clone()

    def _hold(self, frames: int) -> Tensor:
        """All of what has left, and less and less of what the block before made of the first frames of this one."""
        hop, device = self.front_end.config.hop_length, self.denoiser.process.schedule.betas.device
        turn = torch.arange(1, _FADE * hop + 1, device=device) * (math.pi / (_FADE * hop + 1))
        return torch.cat([torch.ones(frames * hop, device=device), 0.5 + 0.5 * turn.cos()])


def _as_waveforms(callback: Callback | None, domain: Domain) -> Callback | None:
    """A callback that is shown waveforms instead of what the diffusion runs on."""
    if callback is None:
        return None

    def shown(index: int, state: Tensor, clean: Tensor) -> None:
        callback(index, domain.waveform(state), domain.waveform(clean))

    return shown


@dataclass(eq=False)
class _Waveform:
    """A waveform while it is made.

    Args:
        pieces: ``[b, n_i]``, those that are finished.
        tail: what the next block goes on from: from the first frame that it looks at to the last that it fades from,
            ``[b, n]``.
    """

    pieces: list[Tensor] = field(default_factory=list)
    tail: Tensor | None = None
