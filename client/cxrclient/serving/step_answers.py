"""Does every instance of every step of a server answer? Films tell: Triton's readiness does not.

A server whose step process has died goes on to be ready. Triton hands films to the instances of a
step in turn, so a single film says nothing of the others.
"""

from __future__ import annotations

from dataclasses import dataclass

from cxrclient.errors import FilmError
from cxrclient.wire import AsyncCxrClient, Endpoint, Transport

_ROUNDS, _ROUNDS_AMONG_OTHERS = 2, 16
"""A round is as many films as a step has instances; among other people's films, whose turn it is
is chance: one of two instances stays unasked in 32 films once in 4 thousand million times."""
_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Answers:
    """What came back.

    Attributes:
        films: how many were sent, one after the other.
        instances: of each step of the ensemble.
        alone: whether nobody else sent films meanwhile, so that each instance had its turn.
        failures: each different one once.
    """

    films: int
    instances: dict[str, int]
    alone: bool
    failures: tuple[FilmError, ...]


async def ask_every_instance(address: str | Endpoint, film: bytes) -> Answers:
    """Send a film until every instance of every step has answered, or one has failed.

    Args:
        address: HOST:PORT of the server's gRPC endpoint, or that with what it takes to get in.
        film: an encoded film that the server can read.

    Raises:
        ServerUnreachable: nothing answers any more.
        ServerUnfit: it serves no ensemble of ours.
    """
    failures: dict[str, FilmError] = {}
    films = 0
    transport = Transport(address, _TIMEOUT_S)
    try:
        async with AsyncCxrClient(address, jobs=1, timeout_s=_TIMEOUT_S, gate=False) as client:
            instances = await transport.instances()
            before = await transport.requests(list(instances))
            for number in range(_ROUNDS_AMONG_OTHERS):
                for _ in range(max(instances.values(), default=1)):
                    films += 1
                    try:
                        await client.predict(film)
                    except FilmError as error:
                        failures[str(error)] = error
                after = await transport.requests(list(instances))
                alone = all(after[step] - before[step] <= films for step in instances)
                if number + 1 >= _ROUNDS and (alone or failures):
                    break
    finally:
        await transport.close()
    return Answers(films, instances, alone, tuple(failures.values()))
