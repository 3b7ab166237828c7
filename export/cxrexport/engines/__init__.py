"""TensorRT plans of the six graphs, each with a passport that says what it is.

Imports neither TensorRT nor onnx: both are loaded when a plan is built.
"""
