"""Files in, WAV files out: what is read, what is written where, and the record beside it."""
