"""Collections of films in their publishers' own layouts, turned into manifests.

    handed_over           covid-cxr and tb-lungs: a metadata.csv, images/ and masks/
    nih                   NIH ChestX-ray14
    montgomery_shenzhen   the tuberculosis sets of the U.S. National Library of Medicine
    covid_chestxray       COVID-19 image data collection of Cohen et al.
    hannover              COVID-19 image repository of Hannover Medical School
    collected             what they share: rows, what was left out and why, ages and sexes

Nothing is left out without a reason that can be counted. Splits are decided over the whole of what
is read, by patient, and only then filtered.
"""

from __future__ import annotations

from cxrexport.datasets.collected import Collected as Collected, LeftOut as LeftOut
from cxrexport.datasets.covid_chestxray import read_covid_chestxray as read_covid_chestxray
from cxrexport.datasets.handed_over import (
    read_covid_cxr as read_covid_cxr,
    read_tb_lungs as read_tb_lungs,
    select as select,
)
from cxrexport.datasets.hannover import read_hannover as read_hannover
from cxrexport.datasets.montgomery_shenzhen import (
    read_montgomery_shenzhen as read_montgomery_shenzhen,
)
from cxrexport.datasets.nih import read_nih as read_nih
