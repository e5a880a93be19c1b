"""How good an output is, against its reference."""
