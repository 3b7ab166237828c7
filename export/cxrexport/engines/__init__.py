"""TensorRT and TensorRT-RTX engines of the six graphs, each with a passport that says what it is.

Imports neither TensorRT nor onnx: both are loaded when an engine is built.
"""
