"""The commands that listen: `tickertape serve` and `tickertape record`. Loopback only, unless told otherwise."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ._arguments import add_config

if TYPE_CHECKING:
    from collections.abc import Callable


def add_serving_commands(commands: argparse._SubParsersAction[Any]) -> None:
    """Their arguments. What they need is imported when they run."""
    command = commands.add_parser(
        "serve",
        help="the loopback relay",
        description="Answer every client with tapes or scenarios; print one line with the base URL when ready.",
        epilog="Exit status: 0 after Ctrl-C; 2 a tape cannot be read, or the port cannot be had.",
    )
    command.add_argument("--port", type=int, default=0, help="0 is a free one (default)")
    command.add_argument("--host", default="127.0.0.1", help="another address; whoever reaches it can use the controls")
    command.add_argument("--tapes", metavar="DIR", help="folder of your own tapes; the gallery follows it")
    command.add_argument(
        "--scenario", metavar="NAME", help="a dialect or image, video, audio: what answers without TAPE"
    )
    command.add_argument("--speed", type=_speed, default=1.0, metavar="N", help="1 as recorded (default), 0 no pauses")
    command.add_argument("--seed", type=int, default=0, help="of all randomness")
    command.add_argument("--keep-links", action="store_true", help="leave links in answers as they were recorded")
    command.add_argument("tape", metavar="TAPE", nargs="*", help="names or paths, played in turn, over and over")
    command.set_defaults(run=_serve)

    command = commands.add_parser(
        "record",
        help="a recording proxy on loopback",
        description="Pass requests on to a relay and keep its answers as tapes, without what must stay secret.",
        epilog="Exit status: 0 after Ctrl-C; 2 the upstream, the folder or the port cannot be used.",
    )
    command.add_argument("--upstream", metavar="URL", required=True, help="the relay's base URL")
    command.add_argument("--out", metavar="DIR", required=True, help="the folder that the tapes go to")
    command.add_argument("--port", type=int, default=0, help="0 is a free one (default)")
    command.add_argument("--host", default="127.0.0.1", help="another address to listen on")
    add_config(command)
    command.set_defaults(run=_record)


def _speed(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number that is 0 or more, found {text}")
    return value


def _serve(args: argparse.Namespace) -> int:
    def run() -> None:
        from .testing.server import serve

        serve(
            args.tape,
            port=args.port,
            host=args.host,
            tapes=args.tapes,
            scenario=args.scenario,
            speed=args.speed,
            seed=args.seed,
            rewrite_links=not args.keep_links,
        )

    return _listening(run)


def _record(args: argparse.Namespace) -> int:
    def run() -> None:
        from ._commands import redactor_of
        from .testing._proxy import record

        redactor = redactor_of(args, args.out)
        record(args.upstream, args.out, port=args.port, host=args.host, redactor=redactor)

    return _listening(run)


def _listening(run: Callable[[], None]) -> int:
    from ._errors import TickertapeError
    from .cli import Refused

    try:
        run()
    except ModuleNotFoundError as error:
        raise Refused(f"{error.name} is not installed: pip install 'tickertape[server]'") from error
    except TickertapeError as error:
        raise Refused(str(error)) from error
    return 0
