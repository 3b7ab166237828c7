"""A command imports MONAI without what it never calls; another program's MONAI stays whole."""

import subprocess
import sys

_PROGRAM = """
import sys
from cxrexport.light_start import import_monai, this_is_a_command

this_is_a_command()
import_monai()
light = "monai" in sys.modules
assert not light or not {"ignite", "skimage", "sklearn"} & set(sys.modules)
from monai.engines import SupervisedTrainer
from monai.networks.nets import UNet
from monai.metrics import compute_hausdorff_distance
import ignite.engine, sklearn, torch
network = UNet(spatial_dims=2, in_channels=1, out_channels=1, channels=(4, 8), strides=(2,))
assert network(torch.zeros(1, 1, 8, 8)).shape == (1, 1, 8, 8)
square = torch.zeros(1, 1, 8, 8); square[..., :4] = 1
assert compute_hausdorff_distance(square, square, include_background=True).item() == 0
print(light, issubclass(SupervisedTrainer, ignite.engine.Engine))
"""


def _said(program):
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_only_the_commands_own_process_goes_without(tmp_path):
    command, other = tmp_path / "cxrexport", tmp_path / "another.py"
    for program in (command, other):
        program.write_text(_PROGRAM)

    assert _said(command) == ["True", "False"]
    assert _said(other) == ["False", "True"]
