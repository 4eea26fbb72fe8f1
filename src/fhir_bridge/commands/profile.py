"""fhir-bridge provider show: what was learned of a hospital's endpoint, for its engineer."""

from __future__ import annotations

from typing import Annotated

import typer

from fhir_bridge.commands.opening import opened
from fhir_bridge.commands.output import AsJson, print_json, say, table


def show(
    name: Annotated[str, typer.Argument(help="The provider's name or id.")], as_json: AsJson = False
) -> None:
    """What the pulls have learned of the hospital's endpoint, and when it is asked again."""
    from fhir_bridge.case.ids import slug
    from fhir_bridge.case.profile import Profile

    with opened() as bridge:
        provider = bridge.store.providers.get(slug(name))
        standing = bridge.store.endpoints.standing(provider.id)
    profile = Profile.of(standing)
    if as_json:
        print_json({"provider": provider.id, "name": provider.name, **profile.facts()})
        return
    say(f"{provider.name}: {provider.fhir or provider.dicomweb or provider.dimse}")
    if standing.updated_at is None:
        say("Nothing is learned yet. The next pull does it: fhir-bridge pull --help")
        return
    table(("what", "learned"), profile.words())
