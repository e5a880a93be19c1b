"""DiffWave: a diffusion vocoder that turns mel spectrograms into speech."""

__version__ = "0.1.0"
