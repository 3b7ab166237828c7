"""`cxrclient serve`: a Triton server with the cxr ensemble, in the foreground."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

import typer

from cxrclient.cli.exits import errors_as_exit_codes
from cxrclient.cli.options.server import ModelRepository
from cxrclient.cli.terminal import is_ignored, say, say_if_interrupts_are_ignored


class _StopRequested(BaseException):  # no error: the user asked for it
    """Raised in the main thread by the first SIGINT, SIGTERM or SIGHUP."""


@contextmanager
def _stop_on_signals() -> Iterator[None]:
    """End the block quietly on the first signal; further ones disturb nothing from then on."""
    signals = [signal.SIGTERM]
    signals += [each for each in (signal.SIGINT, signal.SIGHUP) if not is_ignored(each)]

    def stop(_number: int, _frame: FrameType | None) -> None:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        raise _StopRequested

    before = {each: signal.signal(each, stop) for each in signals}
    try:
        yield
    except _StopRequested:
        say("Stopped.")
        return
    except BaseException:
        for each, handler in before.items():
            signal.signal(each, handler)
        raise


def serve(
    model_repository: ModelRepository = None,
    http_port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    grpc_port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8001,
    metrics_port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8002,
    host: Annotated[
        str, typer.Option(help="Address for gRPC; 0.0.0.0 lets other machines send films.")
    ] = "127.0.0.1",
    http_host: Annotated[
        str,
        typer.Option(
            help="Address for HTTP. Over it, older Tritons can be made to crash (SECURITY.md)."
        ),
    ] = "127.0.0.1",
    metrics_host: Annotated[str, typer.Option(help="Address for the metrics.")] = "127.0.0.1",
    device: Annotated[
        Literal["auto", "cpu", "gpu"],
        typer.Option(help="auto takes the GPU if everything that it needs is there."),
    ] = "auto",
    precision: Annotated[
        Literal["f32", "bf16", "int8"] | None,
        typer.Option(
            help="On the CPU. bf16 is about twice as fast and needs a CPU with its instructions; "
            "int8 needs graphs made by `cxrexport quantise`.",
            show_default="f32",
        ),
    ] = None,
    server_tls_cert: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The server's certificate (PEM): gRPC goes over TLS."),
    ] = None,
    server_tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its private key, without a passphrase.")
    ] = None,
    server_tls_ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Only clients with a certificate of this authority get in (mutual TLS).",
        ),
    ] = None,
    server_token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Only clients that send the token in this file get in. Other users of this "
            "machine can read it in the server's arguments.",
        ),
    ] = None,
    log_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Append Triton's log to this file.")
    ] = None,
) -> None:
    """Run a Triton server with the ensemble until Ctrl-C or SIGTERM. Research use only.

    Other machines reach it only if you give an address. TLS is for gRPC; Triton has none for HTTP
    and metrics, so leave these on this machine. Triton's administration is closed, except to
    callers that send the key in CXR_ADMIN_KEY, if that is set.

    If the shell or nohup ignores SIGINT and SIGHUP, they stay ignored.
    """
    from cxrclient.serving import EmbeddedServer
    from cxrclient.settings import ServerSettings
    from cxrclient.wire import Tls, read_token

    with errors_as_exit_codes(), _stop_on_signals():
        tls = Tls(server_tls_ca, server_tls_cert, server_tls_key)
        server = EmbeddedServer(
            model_repository,
            grpc_port=grpc_port,
            http_port=http_port,
            metrics_port=metrics_port,
            host=host,
            http_host=http_host,
            metrics_host=metrics_host,
            device=device,
            precision=precision,
            log_file=log_file,
            admin_key=ServerSettings().admin_key,
            tls=None if tls == Tls() else tls,
            token=None if server_token_file is None else read_token(server_token_file),
        )
        where = f"the {server.device.upper()}"
        if precision is not None:
            where += f" in {server.precision}"
        over = "" if server_tls_cert is None else " over TLS"
        say(f"Loading {server.repository} on {where} …")
        say_if_interrupts_are_ignored()
        try:
            server.start()
            model = server.wait_ready()
            for sentence in server.exposure():
                say(sentence)
            said = "research use only" in model.notice.lower()
            notice = model.notice if said else f"Research use only. {model.notice}"
            stop = "" if is_ignored(signal.SIGINT) else " Ctrl-C stops."
            say(
                f"Ready: gRPC {server.grpc_address}{over}, HTTP {server.http_address}, metrics "
                f"{server.metrics_address}; model {model.name} ({model.digest[:12]}) on {where}."
                f"{stop} {notice}",
                err=False,
            )
            server.wait()
        finally:
            server.stop()
