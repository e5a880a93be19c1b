"""Listening tests: stimuli, the page that plays them, and what the answers say."""
