"""Corpora of speech: which files there are, whether they are sound, who speaks in them, who is held out."""
