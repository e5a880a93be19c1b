"""Synthesis as the mel arrives."""
