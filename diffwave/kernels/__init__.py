"""The operations worth a kernel; ``reference`` is their definition in plain PyTorch."""
