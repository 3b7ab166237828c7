"""The networks: pure modules that know nothing of training, data or export."""

from cxrexport.networks.architectures import (
    ARCHITECTURES as ARCHITECTURES,
    make_backbone as make_backbone,
)
from cxrexport.networks.average import Average as Average, AverageOutput as AverageOutput
from cxrexport.networks.backbones import Backbone as Backbone, BackboneOutput as BackboneOutput
from cxrexport.networks.head import (
    EMBEDDING_SIZE as EMBEDDING_SIZE,
    EMPTY as EMPTY,
    Head as Head,
    pool_maps as pool_maps,
)
from cxrexport.networks.layout import Design as Design, Layout as Layout, Pooling as Pooling
from cxrexport.networks.unet import LungUNet as LungUNet
