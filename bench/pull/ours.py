"""Our side of the race: one process that pulls every patient into a store, as a worker does."""

from __future__ import annotations

import json  # noqa: TID251 (the hospital and its rivals, not our wire)
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.pull.chart import WORKLOADS, patient

from fhir_bridge.bridge import Bridge
from fhir_bridge.case.case import TreatingProvider
from fhir_bridge.security.access import LOCAL
from fhir_bridge.settings import Settings

HOSPITAL = "race"


def pull(bridge: Bridge, case_id: str) -> str:
    """One patient, step by step as workflows.pull_source has it; the grade of the source."""
    steps = bridge.pulling
    steps.connect(case_id, HOSPITAL, 1)
    while steps.collect(case_id, HOSPITAL, impatient=True)["more"]:
        pass
    while steps.image(case_id, HOSPITAL, 1):
        pass
    return steps.close(case_id, HOSPITAL)


def main(base: str, workload: str, folder: str) -> None:
    """Pull a workload from `base` into a new store in `folder`; print seconds, MB, grades."""
    settings = Settings.load(data=Path(folder), dimse_port=0)
    with Bridge.open(settings) as bridge:
        bridge.add_provider(TreatingProvider(HOSPITAL, HOSPITAL, base))
        cases = [
            bridge.new_case(LOCAL, patient(number), "oncology", "?", [HOSPITAL])
            for number in range(WORKLOADS[workload].patients)
        ]
        began, used = time.perf_counter(), time.process_time()
        with ThreadPoolExecutor(bridge.settings.workers) as pool:
            grades = list(pool.map(lambda case: pull(bridge, case), cases))
        seconds, used = time.perf_counter() - began, time.process_time() - used
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        rows = [bridge.store.ledgers.rows(case) for case in cases]
        held = [a for case in cases for a in bridge.store.ledgers.attachments(case) if a.sha256]
    told = {"seconds": seconds, "cpu": used, "rss_mb": peak, "grades": sorted(set(grades))}
    print(json.dumps({**told, "rows": sum(map(len, rows)), "files": len(held)}))  # noqa: T201 (what a command tells)


if __name__ == "__main__":
    main(*sys.argv[1:])
