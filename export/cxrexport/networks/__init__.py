"""The networks: pure modules that know nothing of training, data or export."""

from cxrexport.networks.architectures import ARCHITECTURES, make_backbone
from cxrexport.networks.average import AVERAGE_INPUTS, Average
from cxrexport.networks.backbones import BACKBONES, Backbone, BackboneOutput
from cxrexport.networks.head import EMBEDDING_SIZE, Head
from cxrexport.networks.pretrained import load_pretrained
from cxrexport.networks.unet import LungUNet

__all__ = [
    "ARCHITECTURES",
    "AVERAGE_INPUTS",
    "BACKBONES",
    "EMBEDDING_SIZE",
    "Average",
    "Backbone",
    "BackboneOutput",
    "Head",
    "LungUNet",
    "load_pretrained",
    "make_backbone",
]
