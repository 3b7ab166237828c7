"""The networks: pure modules that know nothing of training, data or export."""

from cxrexport.networks.architectures import ARCHITECTURES, make_backbone
from cxrexport.networks.average import Average, AverageOutput
from cxrexport.networks.backbones import Backbone, BackboneOutput
from cxrexport.networks.head import EMBEDDING_SIZE, EMPTY, Head
from cxrexport.networks.layout import Design, Layout
from cxrexport.networks.pretrained import layout_of_weights, load_pretrained
from cxrexport.networks.unet import LungUNet

__all__ = [
    "ARCHITECTURES",
    "EMBEDDING_SIZE",
    "EMPTY",
    "Average",
    "AverageOutput",
    "Backbone",
    "BackboneOutput",
    "Design",
    "Head",
    "Layout",
    "LungUNet",
    "layout_of_weights",
    "load_pretrained",
    "make_backbone",
]
