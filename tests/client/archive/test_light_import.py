"""Commands import pymilvus without what they never call; who uses that later gets the original."""

import subprocess
import sys
from pathlib import Path

_COMMAND = """
import sys
import numpy as np
from cxrclient.archive import SimilarityIndex, import_lightly, importing_lightly

import_lightly()
with importing_lightly():
    import pydicom
with SimilarityIndex(sys.argv[1], model_digest="a" * 64) as archive:
    archive.add(["1", "2"], np.eye(2, 128), [{"patient_key": "p"}, {"patient_key": "q"}])
    assert [film.id for film in archive.search(np.eye(1, 128)[0], 1)] == ["1"]
loaded = {"pandas", "requests", "pkg_resources", "scipy", "tqdm"} & set(sys.modules)
assert not loaded, loaded

from pymilvus.client import global_topology
from pymilvus.orm import schema
assert schema.is_list_like([1]) and not schema.is_list_like(1)
assert schema.is_valid_insert_data(__import__("pandas").DataFrame({"a": [1]}))
assert not schema.is_valid_insert_data("a")
assert global_topology.requests.get is __import__("requests").get
from pydicom.data import download
assert download.requests.get is __import__("requests").get
assert download.tqdm.tqdm is __import__("tqdm").tqdm
print("done")
"""


def test_a_command_imports_pymilvus_without_pandas_and_what_needs_it_later_gets_it(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND, str(tmp_path / "a.db")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    assert done.stderr == ""
