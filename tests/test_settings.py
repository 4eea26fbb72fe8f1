"""Settings: where they come from, what is refused, and that no value of a secret is ever told."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from fhir_bridge.errors import ConfigurationError, UnsafeBinding
from fhir_bridge.settings import Settings

CANARY = "correct-horse-battery"


@pytest.fixture(autouse=True)
def nothing_from_outside(monkeypatch, tmp_path):
    import os

    for name in list(os.environ):
        if name.startswith("FHIR_BRIDGE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def toml(tmp_path, monkeypatch):
    def written(text: str) -> None:
        path = tmp_path / "bridge.toml"
        path.write_text(text)
        monkeypatch.setenv("FHIR_BRIDGE_CONFIG", str(path))

    return written


@pytest.fixture
def pem(tmp_path):
    path = tmp_path / "tls.pem"
    path.write_text("PEM")
    return path


def test_every_setting_says_what_it_is_for():
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_the_environment_wins_over_the_file_which_wins_over_the_default(toml, monkeypatch):
    assert Settings.load().port == 8400
    toml("port = 8500\nworkers = 7\n")
    assert Settings.load().port == 8500
    monkeypatch.setenv("FHIR_BRIDGE_PORT", "8600")
    settings = Settings.load()
    assert (settings.port, settings.workers) == (8600, 7)
    assert Settings.load(port=8700).port == 8700


def test_a_file_in_the_working_folder_is_read_without_being_named(tmp_path):
    (tmp_path / "fhir-bridge.toml").write_text("port = 8501\n")
    assert Settings.load().port == 8501


def test_an_empty_variable_is_a_variable_that_is_not_set(monkeypatch):
    for name in ("PORT", "TLS_CERTIFICATE", "LOGIN_TOKEN", "WORKERS"):
        monkeypatch.setenv(f"FHIR_BRIDGE_{name}", "")
    settings = Settings.load()
    assert (settings.port, settings.tls_certificate) == (8400, None)


def test_a_key_that_is_no_setting_is_refused_by_its_name(toml):
    toml("prot = 8500\n")
    with pytest.raises(ConfigurationError, match="prot is no setting"):
        Settings.load()


def test_a_variable_of_another_tool_is_not_ours_to_refuse(monkeypatch):
    monkeypatch.setenv("FHIR_BRIDGE_TRACEBACK", "1")
    monkeypatch.setenv("PORT", "1")
    assert Settings.load().port == 8400


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("port = \n", "TOML"),
        (f'login_token = "{CANARY}\n', "TOML"),
        ("port = 70000\n", "FHIR_BRIDGE_PORT"),
        ('workers = "many"\n', "FHIR_BRIDGE_WORKERS"),
        ("dimse_aet = 'ABCDEFGHIJKLMNOPQ'\n", "FHIR_BRIDGE_DIMSE_AET"),
        ("log_level = 'LOUD'\n", "FHIR_BRIDGE_LOG_LEVEL"),
        (f"database_url = ['{CANARY}']\n", "FHIR_BRIDGE_DATABASE_URL"),
        (f"login_token = ['{CANARY}']\n", "FHIR_BRIDGE_LOGIN_TOKEN"),
        ("\x00", "TOML"),
    ],
)
def test_what_cannot_be_read_is_named_and_never_quoted(toml, text, sentence):
    toml(text)
    with pytest.raises(ConfigurationError, match=sentence) as refused:
        Settings.load()
    assert CANARY not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.exit_code == 7


def test_a_file_that_is_named_and_is_not_there_is_refused(monkeypatch, tmp_path):
    for path in (tmp_path / "none.toml", tmp_path):
        monkeypatch.setenv("FHIR_BRIDGE_CONFIG", str(path))
        with pytest.raises(ConfigurationError, match="FHIR_BRIDGE_CONFIG"):
            Settings.load()


def test_secrets_are_in_no_way_of_printing_the_settings():
    settings = Settings.load(
        login_token=CANARY, database_url=f"postgresql+psycopg://u:{CANARY}@h/d"
    )
    for printed in (repr(settings), str(settings), settings.model_dump_json(), str(vars(settings))):
        assert CANARY not in printed
    assert CANARY in settings.database


def test_settings_never_change_once_they_are_read():
    with pytest.raises(ValueError, match="frozen"):
        Settings.load().port = 1


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "bridge.example", "", "127.0.0.x"])
def test_listening_beyond_loopback_needs_login_and_tls(host, pem):
    for given in ({}, {"login_token": CANARY}, {"tls_certificate": pem, "tls_key": pem}):
        with pytest.raises(UnsafeBinding) as refused:
            Settings.load(host=host, **given)
        assert CANARY not in str(refused.value)
    assert (
        Settings.load(host=host, login_token=CANARY, tls_certificate=pem, tls_key=pem).host == host
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_listening_on_loopback_needs_nothing(host):
    assert Settings.load(host=host, dimse_host=host).host == host


def test_an_empty_path_is_no_certificate():
    """An empty Path is a true value: it must not pass for TLS."""
    with pytest.raises(ConfigurationError):
        Settings.load(host="0.0.0.0", login_token=CANARY, tls_certificate="", tls_key="")


def test_half_of_tls_is_refused(pem, tmp_path):
    for given in (
        {"tls_certificate": pem},
        {"tls_key": pem},
        {"tls_certificate": pem, "tls_key": tmp_path / "none"},
    ):
        with pytest.raises(ConfigurationError, match="FHIR_BRIDGE_TLS"):
            Settings.load(**given)


@pytest.mark.parametrize("senders", ["*", " * ", "A,*"])
def test_a_receiver_beyond_loopback_names_who_may_push(senders):
    with pytest.raises(UnsafeBinding, match="SENDERS"):
        Settings.load(dimse_host="0.0.0.0", dimse_senders=senders)
    assert Settings.load(dimse_host="0.0.0.0", dimse_senders="PACS1,PACS2").dimse_senders


def test_without_a_database_address_it_is_sqlite_in_the_data_folder(tmp_path):
    assert Settings.load(data=tmp_path).database == f"sqlite:///{tmp_path}/bridge.sqlite"
    assert Settings.load(database_url=SecretStr("sqlite:///x")).database == "sqlite:///x"


@pytest.mark.parametrize(
    "url", ["http://[bad", "bridge.example", "ftp://bridge.example", "https://"]
)
def test_an_outer_address_that_no_browser_could_open_is_refused(monkeypatch, url):
    monkeypatch.setenv("FHIR_BRIDGE_PUBLIC_URL", url)
    with pytest.raises(ConfigurationError, match="FHIR_BRIDGE_PUBLIC_URL is written"):
        Settings.load()
