"""Signals as tensors: the Fourier transform, noise by position, division into blocks."""
