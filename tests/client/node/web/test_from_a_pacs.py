"""A real PACS routes films to the node by STOW-RS."""

from __future__ import annotations

from orthanc import running_pacs


def test_orthanc_sends_its_films_in_chunks_and_in_one_piece(web, film, tmp_path):
    url = f"{web.url}/dicom-web/"
    servers = {
        "chunks": {"Url": url, "ChunkedTransfers": "1"},
        "piece": {"Url": url, "ChunkedTransfers": "0"},
    }
    with running_pacs(tmp_path / "pacs", DicomWeb={"Enable": True, "Servers": servers}) as pacs:
        for number in range(3):
            path = tmp_path / f"{number}.dcm"
            path.write_bytes(film(SOPInstanceUID=f"1.2.3.{number}"))
            pacs.store(path)
        all_of_it = {"Resources": pacs.get("studies"), "Synchronous": True}

        for server in servers:
            assert pacs.get(f"dicom-web/servers/{server}/stow", all_of_it)["InstancesCount"] == "3"

    for number in range(3):
        assert web.spool.film_path(f"1.2.3.{number}").exists()
    counts = web.spool.rows.counts()
    assert counts == {"received:stow:stored": 3, "received:stow:again": 3}
