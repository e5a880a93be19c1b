"""Checkpoints of other implementations in, ONNX out."""
