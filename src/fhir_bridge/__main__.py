"""python -m fhir_bridge: the same as the console script."""

from fhir_bridge.cli import main

main()
