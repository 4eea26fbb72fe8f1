"""Settings: frozen, typed, from FHIR_BRIDGE_* and one TOML file; each says what it is for."""

from __future__ import annotations

import os
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from fhir_bridge.errors import ConfigurationError, UnsafeBinding

Port = Annotated[int, Field(ge=0, le=65535)]


class Settings(BaseSettings):
    """
    One bridge. An environment variable FHIR_BRIDGE_<FIELD> wins over the TOML file named by
    FHIR_BRIDGE_CONFIG (default ./fhir-bridge.toml when it exists), which wins over the default.
    An empty variable counts as not set; a key of the file that is no field is refused, because it
    is a slip of the pen.
    """

    model_config = SettingsConfigDict(
        env_prefix="FHIR_BRIDGE_",
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    data: Path = Field(
        Path("fhir-bridge-data"), description="Folder of the store: originals, database, keys."
    )
    database_url: SecretStr = Field(
        SecretStr(""),
        description="PostgreSQL as postgresql+psycopg://...; empty is SQLite in the data folder.",
    )
    host: str = Field("127.0.0.1", description="Address of the web server.")
    port: Port = Field(8400, description="Port of the web server; 0 takes a free one.")
    public_url: str = Field(
        "", description="How hospitals and browsers reach us; empty is http://host:port."
    )
    dimse_host: str = Field("127.0.0.1", description="Address of the DICOM receiver.")
    dimse_port: Port = Field(11112, description="Port of the DICOM receiver; 0 takes a free one.")
    dimse_aet: str = Field(
        "FHIRBRIDGE", min_length=1, max_length=16, description="Our AE title, case-sensitive."
    )
    dimse_senders: str = Field(
        "*",
        description="Calling AE titles that may push, comma-separated; * is anyone on loopback.",
    )
    organisation: str = Field(
        "Second Opinion Programme", description="The programme's name in documents."
    )
    login_token: SecretStr = Field(
        SecretStr(""), description="Fixed console login; empty makes a one-time link at start."
    )
    tls_certificate: Path | None = Field(None, description="PEM file for HTTPS.")
    tls_key: Path | None = Field(None, description="PEM key file for HTTPS.")
    workers: int = Field(
        4, ge=1, le=64, description="Sources and studies worked on at the same time per process."
    )
    max_attachment_mb: int = Field(512, ge=1, description="Largest attachment taken in, in MiB.")
    http_timeout_seconds: float = Field(
        60.0, gt=0, description="Deadline of one whole answer from a provider."
    )
    requests_per_provider: int = Field(
        16, ge=1, le=64, description="Most requests at the same time to one provider's endpoint."
    )
    lease_seconds: float = Field(
        15.0, gt=0, description="A worker without a heartbeat for this long is taken over."
    )
    log_level: str = Field(
        "INFO",
        pattern="(?i)^(debug|info|warning|error)$",
        description="DEBUG, INFO, WARNING or ERROR.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (the base class names it)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (likewise)
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the TOML file."""
        toml = TomlConfigSettingsSource(settings_cls, _config_file())
        return (init_settings, env_settings, toml)

    @classmethod
    def load(cls, **given: object) -> Self:
        """Read the settings; raises ConfigurationError that names the field, never its value."""
        try:
            settings = cls(**given)  # type: ignore[arg-type]  # pydantic checks each field
        except ValidationError as error:
            raise ConfigurationError("; ".join(map(_sentence, error.errors()))) from None
        except (OSError, ValueError) as error:
            # The parser's message can quote a secret beside the fault: only its kind may travel.
            raise ConfigurationError(
                f"the file of FHIR_BRIDGE_CONFIG is no readable TOML ({type(error).__name__})"
            ) from None
        settings._refuse_odd_public_url()
        settings._refuse_half_tls()
        settings._refuse_unsafe_binding()
        return settings

    def _refuse_odd_public_url(self) -> None:
        if not self.public_url:
            return
        try:
            parts = urlsplit(self.public_url)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError("FHIR_BRIDGE_PUBLIC_URL is written https://host")

    def _refuse_half_tls(self) -> None:
        files = {"CERTIFICATE": self.tls_certificate, "KEY": self.tls_key}
        if not any(files.values()):
            return
        for name, path in files.items():
            if path is None or not path.is_file():
                raise ConfigurationError(f"FHIR_BRIDGE_TLS_{name} names no file: HTTPS needs both")

    def _refuse_unsafe_binding(self) -> None:
        # A console that anybody on the network can read is refused, never warned about.
        secured = bool(self.login_token.get_secret_value() and self.tls_certificate)
        if not _is_loopback(self.host) and not secured:
            raise UnsafeBinding(
                "FHIR_BRIDGE_HOST is not loopback: set FHIR_BRIDGE_LOGIN_TOKEN and "
                "FHIR_BRIDGE_TLS_CERTIFICATE with FHIR_BRIDGE_TLS_KEY"
            )
        if not _is_loopback(self.dimse_host) and "*" in self.dimse_senders:
            raise UnsafeBinding(
                "FHIR_BRIDGE_DIMSE_HOST is not loopback: name who may push in "
                "FHIR_BRIDGE_DIMSE_SENDERS"
            )

    @property
    def database(self) -> str:
        """The SQLAlchemy URL of the database."""
        return self.database_url.get_secret_value() or f"sqlite:///{self.data / 'bridge.sqlite'}"


def _config_file() -> Path:
    named = os.environ.get("FHIR_BRIDGE_CONFIG")
    path = Path(named or "fhir-bridge.toml")
    if named and not path.is_file():
        raise ConfigurationError("FHIR_BRIDGE_CONFIG names no file")
    return path


def _sentence(fault: ErrorDetails) -> str:
    name = "_".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"{name} is no setting: see the operator's guide for their names"
    return f"FHIR_BRIDGE_{name.upper()}: {fault['msg']}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
