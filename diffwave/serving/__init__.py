"""The vocoder as a small HTTP service."""
