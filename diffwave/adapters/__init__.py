"""Other TTS frameworks speak through the vocoder: one short file for each."""
