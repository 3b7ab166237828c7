"""The licences of starting weights stand in the repository; what people wrote around them stays."""

from __future__ import annotations

from cxrexport.repository import write_licences
from cxrexport.repository.licences import LICENCES

NOTICES = {
    "vgg16": "# Licence of vgg16\n\n## CC-BY-4.0\n\nBy Oxford.\n",
    "resnet50": "# BSD\n\nYahoo.\n",
}


def written(tmp_path, directory, notices):
    beside = tmp_path / "beside"
    beside.mkdir(exist_ok=True)
    (beside / LICENCES).unlink(missing_ok=True)
    write_licences(beside, directory, notices)
    file = beside / LICENCES
    return file.read_text() if file.is_file() else None


def test_each_network_has_its_licence_in_a_new_repository(tmp_path):
    text = written(tmp_path, tmp_path / "new", NOTICES)
    assert text.startswith("# Licence of the weights\n")
    for said in (
        "vgg16, resnet50: these networks began",
        "### Licence of vgg16",
        "#### CC-BY-4.0",
        "Yahoo.",
    ):
        assert said in text


def test_what_people_wrote_stays_and_the_part_is_replaced_not_repeated(tmp_path):
    repository = tmp_path / "repository"
    repository.mkdir()
    file = repository / LICENCES
    file.write_text("# By hand\n\nMasks: CC BY-NC-SA 4.0.\n")
    file.write_text(written(tmp_path, repository, NOTICES) + "\n## Below\n\nMore by hand.\n")
    again = written(tmp_path, repository, {"vgg16": NOTICES["vgg16"]})
    assert again.startswith("# By hand\n\nMasks: CC BY-NC-SA 4.0.\n")
    assert again.count("By Oxford.") == 1
    assert "Yahoo." not in again
    assert "More by hand." in again


def test_graphs_from_scratch_take_the_part_away_and_leave_other_files_alone(tmp_path):
    repository = tmp_path / "repository"
    repository.mkdir()
    assert written(tmp_path, repository, {}) is None
    (repository / LICENCES).write_text("# By hand\n")
    assert written(tmp_path, repository, {}) is None
    (repository / LICENCES).write_text(written(tmp_path, repository, NOTICES))
    assert written(tmp_path, repository, {}) == "# By hand\n"
