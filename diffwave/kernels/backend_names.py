"""What backends and precisions are called; apart from the rest, since a command's help needs no PyTorch."""

BACKENDS = ("auto", "reference", "compiled", "native", "triton")
"""``auto``; plain PyTorch; the same through ``torch.compile``; the C kernel for CPUs; the kernels for GPUs."""

PRECISIONS = ("auto", "float32", "bfloat16")
"""Of the products in the residual layers."""
