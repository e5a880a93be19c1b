"""A corpus of recordings or mels synthesized by many workers, on one machine or a Ray cluster."""
