"""`cxrclient predict` and its surroundings: the environment, no film, no server."""

from __future__ import annotations

import os


def test_no_film_at_all_is_wrong_usage(predict_alone, tmp_path, free_address):
    (tmp_path / "letter.txt").write_text("Dear colleague")
    for arguments in (["*.nothing"], [tmp_path]):
        done = predict_alone(*arguments, server=free_address, cwd=tmp_path)
        assert done.returncode == 2
        assert "No film" in done.stderr


def test_no_server_is_exit_code_5_with_the_command_that_starts_one(
    predict_alone, films, free_address
):
    done = predict_alone(films, server=free_address)
    assert done.returncode == 5
    assert "cxrclient serve" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_environment_stands_in_for_options(predict_alone, films, triton_server):
    environment = os.environ | {"CXR_SERVER": triton_server.grpc_address, "CXR_JOBS": "2"}
    assert predict_alone(films / "a.dcm", server=None, env=environment).returncode == 0


def test_a_bad_environment_is_named(predict_alone, films):
    done = predict_alone(films, env=os.environ | {"CXR_TIMEOUT_S": "soon"})
    assert done.returncode == 2
    assert "CXR_TIMEOUT_S" in done.stderr


def test_verbose_tells_of_the_server_and_quiet_of_nothing(predict_alone, films, triton_server):
    verbose = predict_alone(films / "a.dcm", "-v")
    assert f"{triton_server.grpc_address} serves starter, digest" in verbose.stderr
    quiet = predict_alone(films / "a.dcm", "-q", "--format", "csv")
    assert (quiet.returncode, quiet.stderr) == (0, "")
    assert "a.dcm" in quiet.stdout
