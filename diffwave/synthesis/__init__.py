"""From a mel to a waveform: network, sampler, guide and blocks put together."""
