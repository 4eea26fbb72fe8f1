"""A program for the crash test: the Storage SCP on a folder, until somebody kills it."""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path

from fhir_bridge.servers.dimse.scp import ScpSettings, StorageScp


def main(folder: Path) -> None:
    path = Path(__file__).parents[2] / "pipeline/receive/shelf.py"
    spec = importlib.util.spec_from_file_location("receive_shelf", path)
    sys.modules["receive_shelf"] = stand = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stand)
    scp = StorageScp(stand.receiver(stand.FolderShelf(folder)), ScpSettings(port=0))
    scp.start()
    print(f"port {scp.port}", flush=True)
    time.sleep(120)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
