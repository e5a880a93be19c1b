"""Which trained steps few network calls should visit."""
