"""ONNX: the integer network as two graphs for ONNX Runtime."""
