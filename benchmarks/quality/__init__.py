"""Scores of a checkpoint on held-out speech, beside floors that use no network: the results pages."""
