"""Fixtures that start a real foreign system, hand out where it is, and stop it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.register_assert_rewrite(f"{__package__}.job", f"{__package__}.charts")

from . import (  # noqa: E402 (what is imported here must not import job before the line above)
    asymmetrik,
    chromium,
    dcmtk,
    hapi,
    keys,
    medplum,
    oidc_provider,
    orthanc,
    peer,
    postgres,
    sekmet,
    validator,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

    from .chromium import OpenPage
    from .dcmtk import Dcmtk, Receiver
    from .fhir_server import FhirServer
    from .keys import ClientKeys
    from .oidc_provider import TokenServer
    from .orthanc import Orthanc
    from .postgres import Postgres
    from .validator import Judges


@pytest.fixture(scope="session")
def client_keys() -> Iterator[ClientKeys]:
    """The keys of the SMART client that the guarded peers know, with their JWKS URLs."""
    with keys.serving() as served:
        yield served


@pytest.fixture(scope="session")
def sekmet_open(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FhirServer]:
    """sekmet without any guard; shared by the session, so use patients of your own."""
    with sekmet.serving(tmp_path_factory.mktemp("sekmet-open")) as server:
        yield server


@pytest.fixture(scope="session")
def sekmet_smart(
    tmp_path_factory: pytest.TempPathFactory, client_keys: ClientKeys
) -> Iterator[FhirServer]:
    """sekmet with its own SMART token server; it knows both clients of keys.CLIENT_IDS."""
    clients = [
        sekmet.SmartClient(keys.CLIENT_IDS["RS384"], client_keys.rs384_jwks_url),
        sekmet.SmartClient(keys.CLIENT_IDS["ES384"], client_keys.es384_jwks_url),
    ]
    with sekmet.serving(tmp_path_factory.mktemp("sekmet-smart"), clients) as server:
        yield server


@pytest.fixture(scope="session")
def token_server(
    tmp_path_factory: pytest.TempPathFactory, client_keys: ClientKeys
) -> Iterator[TokenServer]:
    """oidc-provider; it knows both clients of keys.CLIENT_IDS."""
    clients = [
        oidc_provider.RegisteredClient(
            keys.CLIENT_IDS["RS384"], "RS384", client_keys.rs384_jwks_url
        ),
        oidc_provider.RegisteredClient(
            keys.CLIENT_IDS["ES384"], "ES384", client_keys.es384_jwks_url
        ),
    ]
    with oidc_provider.serving(tmp_path_factory.mktemp("oidc-provider"), clients) as server:
        yield server


@pytest.fixture(scope="session")
def medplum_open(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FhirServer]:
    """Medplum without any guard; shared by the session, so use patients of your own."""
    with medplum.serving(tmp_path_factory.mktemp("medplum-open")) as server:
        yield server


@pytest.fixture(scope="session")
def medplum_smart(
    tmp_path_factory: pytest.TempPathFactory, token_server: TokenServer
) -> Iterator[FhirServer]:
    """Medplum that takes the token server's tokens, and no others, scope by scope."""
    with medplum.serving(tmp_path_factory.mktemp("medplum-smart"), token_server) as server:
        yield server


@pytest.fixture(scope="session")
def hapi_open(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FhirServer]:
    """HAPI's JPA server without any guard, one for the session; `hapi.guarded` puts one before."""
    with hapi.serving(tmp_path_factory.mktemp("hapi")) as server:
        yield server


@pytest.fixture(scope="session")
def asymmetrik_open(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FhirServer]:
    """Asymmetrik's framework without any guard, for its quirks."""
    with asymmetrik.serving(tmp_path_factory.mktemp("asymmetrik")) as server:
        yield server


@pytest.fixture(scope="session")
def orthanc_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """One Orthanc for the session; tests take orthanc_pacs, which is emptied for each of them."""
    with orthanc.serving(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.fixture
def orthanc_pacs(orthanc_server: Orthanc) -> Iterator[Orthanc]:
    """An empty Orthanc with DICOMweb; make your node known with add_modality."""
    yield orthanc_server
    orthanc_server.clear()


@pytest.fixture
def dcmtk_clients() -> Dcmtk:
    """DCMTK's echoscu, storescu, dcmsend, findscu, getscu, movescu."""
    peer.need("dcmtk", "echoscu", "storescu", "dcmsend", "findscu", "getscu", "movescu")
    return dcmtk.Dcmtk()


@pytest.fixture
def dcmtk_receiver(tmp_path: Path) -> Iterator[Receiver]:
    """A storescp with AE title STORESCP that keeps all it receives in a folder."""
    with dcmtk.receiving(tmp_path) as receiver:
        yield receiver


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[Postgres]:
    """A PostgreSQL cluster of the session's own."""
    with postgres.serving() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_cluster: Postgres) -> Iterator[str]:
    """A new empty database, as `postgresql+psycopg://...`; dropped afterwards."""
    url = postgres_cluster.createdb()
    yield url
    postgres_cluster.dropdb(url)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium. No test of the module may call `asyncio.run` in its own thread."""
    with chromium.launched() as launched:
        yield launched


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """An empty page with a fresh profile: `.page` (Playwright) and `.errors` (console)."""
    with chromium.opened(browser) as opened:
        yield opened


@pytest.fixture(scope="session")
def judges() -> Iterator[Judges]:
    """HAPI's, Medplum's and fhirkit's validators: `judges.judge(document)`."""
    with validator.all_judges() as started:
        yield started


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the peers that tests asked for in vain."""
    if peer.MISSING:
        names = ", ".join(sorted(peer.MISSING))
        terminalreporter.section("missing peers")
        terminalreporter.write_line(f"{names} (install with: make peers)")
