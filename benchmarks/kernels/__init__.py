"""The fused residual layer on a GPU, and mel consistency in C: errors, limits, times."""
