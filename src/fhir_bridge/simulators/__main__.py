"""`python -m fhir_bridge.simulators`: one hospital, one JSON line on stdout when it is ready."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from fhir_bridge.simulators import faults, profiles, service
from fhir_bridge.simulators.hospital import NAME, Options
from fhir_bridge.simulators.pacs import Node
from fhir_bridge.simulators.wire import write_json


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM, SIGINT or the end of the parent; 2 for usage errors."""
    parser = _parser()
    options = _options(parser, parser.parse_args(argv))
    hospital = service.build(options)
    try:
        asyncio.run(_serve(hospital))
    finally:
        hospital.close()
    return 0


async def _serve(hospital: service.Hospital) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, hospital.leave)
    await hospital.run(_say)


def _say(urls: dict[str, str | None]) -> None:
    sys.stdout.write(write_json(urls).decode() + "\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {one.name:<26}{one.where}: {one.shows}" for one in faults.FAULTS)
    vendors = "\n".join(f"  {one.name:<26}{one.shows}" for one in profiles.PROFILES)
    parser = argparse.ArgumentParser(
        prog="python -m fhir_bridge.simulators",
        description=f"{NAME}: a treating hospital in a box, on loopback.",
        epilog=f"profiles:\n{vendors}\n\nfaults:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="a case folder (ehr/, files/, studies.json)")
    add("--state", type=Path, required=True, help="keeps what is written into the chart")
    add("--client-id", help="the registered client")
    add("--jwks-url", help="where its public keys are")
    add("--bridge-dimse", help="AET@HOST:PORT: C-MOVE destination, and where pushes go")
    add("--http-port", type=int, default=0, help="0 is any free port")
    add("--dimse-port", type=int, default=0, help="0 is any free port")
    add("--only", choices=("ehr", "pacs"), help="half a hospital")
    add("--open", action="store_true", dest="open_door", help="no login needed")
    add("--profile", choices=profiles.NAMES, help="the manners of a vendor")
    add("--captures", type=Path, help="a folder of captured answers, given under their own paths")
    add("--fault", action="append", default=[], metavar="NAME", help="may be repeated")
    return parser


def _options(parser: argparse.ArgumentParser, given: argparse.Namespace) -> Options:
    values = vars(given)
    names = tuple(values.pop("fault"))
    options = Options(**values, faults=names)
    try:
        faults.chosen(names)
        if options.bridge_dimse:
            Node.parse(options.bridge_dimse)
    except ValueError as wrong:
        parser.error(str(wrong))
    if not options.data.is_dir():
        parser.error("--data is no folder")
    if not options.open_door and not (options.client_id and options.jwks_url):
        parser.error("--client-id and --jwks-url are needed, or --open")
    return options


if __name__ == "__main__":
    sys.exit(main())
