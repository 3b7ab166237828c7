"""Phantoms: drawn chest films with known lungs and known opacities, written as DICOM.

They let anyone try and test everything without one patient's film. Everything follows from the
seed, to the byte. They show mechanisms; no accuracy measured on them says anything of patients.
"""

from __future__ import annotations

from cxrexport.phantom.anatomy import Opacity as Opacity
from cxrexport.phantom.collection import write_phantoms as write_phantoms
from cxrexport.phantom.draw import Phantom as Phantom, draw_phantom as draw_phantom
