"""A server that is away costs nothing but time, and it is found again at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc

from cxrclient.serving.embedded import EmbeddedServer
from waiting import eventually


def untouched(row: dict) -> bool:
    return (row["state"], row["attempts"], row["code"]) == ("waiting", 0, None)


def test_films_wait_for_a_server_that_starts_later_and_again_when_it_has_ended(
    node, working, free_address, model_repository, films
) -> None:
    first, second = films(2)
    uid = node.takes(first)
    with working(free_address, workers=2) as workers:
        eventually(lambda: "SERVER_UNREACHABLE" in workers.server_state()[1])
        port = int(free_address.rpartition(":")[2])
        with EmbeddedServer(model_repository, grpc_port=port, device="cpu"):
            assert node.ends(uid)["state"] == "analysed"
            assert workers.server_state()[0]
        eventually(lambda: not workers.server_state()[0])
        uid = node.takes(second)
        with EmbeddedServer(model_repository, grpc_port=port, device="cpu"):
            row = node.ends(uid)
            assert (row["state"], row["attempts"]) == ("analysed", 0)


def test_a_film_that_loses_its_server_on_the_way_is_as_it_was(node, working, wire, film) -> None:
    wire.hold_after(10_000)
    uid = node.takes(film())
    with working(wire.address) as workers:
        eventually(wire.holds.is_set)
        wire.cut()
        eventually(lambda: not workers.server_state()[0])
        assert untouched(node.row(uid))
        wire.mend()
        assert node.ends(uid)["state"] == "analysed"


def test_a_film_whose_answer_does_not_come_is_put_off_without_blame(
    node, working, wire, film
) -> None:
    wire.hold_after(10_000)
    uid = node.takes(film())
    with working(wire.address, timeout_s=2.0) as workers:
        row = node.has_code(uid, "TIMEOUT")
        assert (row["state"], row["attempts"]) == ("waiting", 0)
        eventually(lambda: not workers.server_state()[0])  # a second at first, then ever longer
        wire.flow()
        assert node.ends(uid)["state"] == "analysed"


def test_a_server_that_is_none_of_ours_is_said_to_be_unfit(node, working, film) -> None:
    uid = node.takes(film())
    other = grpc.server(ThreadPoolExecutor(1))  # speaks gRPC, and none of Triton's
    port = other.add_insecure_port("127.0.0.1:0")
    other.start()
    with working(f"127.0.0.1:{port}") as workers:
        eventually(lambda: workers.server_state()[1].startswith("SERVER_UNFIT"))
        assert untouched(node.row(uid))
    other.stop(None)
