"""ONNX: networks that exist as nothing else, of one time step with its states, or with time unrolled."""
