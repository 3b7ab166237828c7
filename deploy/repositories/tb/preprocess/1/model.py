"""The step `preprocess` of the ensemble: all of it is in cxrexport.preprocessing.triton_step."""

from cxrexport.shared_memory import close_shared_memory

close_shared_memory()  # first: what follows takes a second to import

from cxrexport.preprocessing.triton_step import TritonPythonModel  # noqa: E402

__all__ = ["TritonPythonModel"]
