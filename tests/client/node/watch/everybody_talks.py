"""Run by test_log.py: libraries that say a patient's secrets, real ones where they do it so."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
import warnings
from pathlib import Path

import aiohttp.web
import pydicom
import requests
from pynetdicom import AE, evt
from pynetdicom.sop_class import PatientRootQueryRetrieveInformationModelFind

import cxrclient
from cxrclient.errors import NodeError
from cxrclient.node.watch.log import set_up

level, name, *secrets = sys.argv[1:]
everything = "\n".join((name, *secrets))
library_log = logging.getLogger("highdicom.words")
our_log = logging.getLogger("cxrclient.node.test")
# Code of ours, as far as one can see.
module = {"log": our_log}
place = Path(cxrclient.__file__).with_name("made_up.py")
exec(compile("def we_say(*a, **k): log.error(*a, **k)", place, "exec"), module)
we_say = module["we_say"]


def library() -> None:
    """As highdicom and dicomweb-client log."""
    library_log.warning(f"Odd name {name}")
    library_log.error("Odd %s\n%s", name, everything, stack_info=True)
    library_log.error("too few values: %s %s %s", name)
    with_handler = logging.getLogger("pymilvus")
    with_handler.addHandler(logging.StreamHandler(sys.stdout))
    with_handler.propagate = False
    with_handler.error(everything)
    try:
        {}[everything]
    except KeyError as error:
        library_log.exception(everything)
        we_say("A film failed: %s", error)
        we_say("A film failed.", exc_info=True)
        we_say("%(what)s failed", {"what": "It"})
        we_say("too few values: %s %s", error)
    try:
        Path("/nowhere", name).read_bytes()
    except OSError as error:
        we_say("No file: %s", error)
    we_say("Two lines\nof %s", NodeError("The peer refuses."))
    our_log.error(everything)  # in our name, by code that is not ours


def pydicom_warns() -> None:
    """Values that are not of their kind, as hospitals write them."""
    film = pydicom.Dataset()
    film.PatientBirthDate, film.PatientSex = everything[:60], name
    film.PatientName, film.AccessionNumber = everything, everything
    film.PatientAge = name
    warnings.warn(everything, stacklevel=1)
    _ = repr(film)


def pynetdicom_logs() -> None:
    """A C-FIND with an identifier; a handler that fails over its name."""
    asked = pydicom.Dataset()
    asked.QueryRetrieveLevel, asked.PatientName = "PATIENT", name
    asked.PatientID = secrets[1]

    def find(event: evt.Event) -> None:
        yield 0xFF00, event.identifier
        raise ValueError(everything)

    there = AE("THERE")
    there.add_supported_context(PatientRootQueryRetrieveInformationModelFind)
    server = there.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, find)]
    )
    here = AE("HERE")
    here.add_requested_context(PatientRootQueryRetrieveInformationModelFind)
    line = here.associate(*server.socket.getsockname())
    found = list(line.send_c_find(asked, PatientRootQueryRetrieveInformationModelFind))
    assert found[0][1].PatientName == name
    line.release()
    server.shutdown()


async def http() -> None:
    """A server of aiohttp with its access log and a handler that fails; requests that ask it."""

    async def fail(request: aiohttp.web.Request) -> None:
        raise ValueError(everything)

    application = aiohttp.web.Application()
    application.router.add_get("/{rest:.*}", fail)
    runner = aiohttp.web.AppRunner(application, access_log=our_log)
    await runner.setup()
    await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
    url = "http://{}:{}/studies".format(*runner.addresses[0])
    answer = await asyncio.to_thread(requests.get, url, params={"PatientName": name}, timeout=60)
    assert answer.status_code == 500
    await runner.cleanup()


async def lost_task() -> None:
    """A task whose error nobody takes."""

    async def fail() -> None:
        raise LookupError(everything)

    task = asyncio.ensure_future(fail(), loop=asyncio.get_running_loop())
    task.set_name(name)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task
    gc.collect()


class Ends:
    """Its end fails."""

    def __del__(self) -> None:
        raise ArithmeticError(everything)


def fail() -> None:
    """In a thread."""
    raise RuntimeError(everything)


set_up(level)
library()
pydicom_warns()
pynetdicom_logs()
asyncio.run(http())
asyncio.run(lost_task())
thread = threading.Thread(target=fail, name=name)
thread.start()
thread.join()
Ends()
gc.collect()
print("the end", flush=True)  # noqa: T201
raise ValueError(everything)
