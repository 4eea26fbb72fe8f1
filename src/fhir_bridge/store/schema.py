"""Every table of the bridge. Names begin with fb_, because the job engine shares the database."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    UniqueConstraint,
    func,
)

from fhir_bridge.store.columns import Facts, Instant, Text

metadata = MetaData()

provider = Table(
    "fb_provider",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("fhir", Text, nullable=False, default=""),
    Column("auth", Text, nullable=False),
    Column("client_id", Text, nullable=False, default=""),
    Column("secret", LargeBinary),
    Column("dimse", Text, nullable=False, default=""),
    Column("dicomweb", Text, nullable=False, default=""),
    Column("allowed_origins", Facts, nullable=False),
    Column("issuers", Facts, nullable=False),
    Column("vendor", Text, nullable=False, server_default=""),
    Column("bulk", Text, nullable=False, server_default=""),
    Column("file_origins", Facts, nullable=False, server_default="[]"),
    Column("papers", Facts, nullable=False, server_default="{}"),
    # Private keys: name -> sealed bytes in base64.
    Column("sealed", Facts, nullable=False, server_default="{}"),
    Column("added_at", Instant, nullable=False),
)

case = Table(
    "fb_case",
    metadata,
    Column("id", Text, primary_key=True),
    Column("patient", Facts, nullable=False),
    Column("specialty", Text, nullable=False),
    Column("question", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("record_version", Integer, nullable=False, default=0),
    Column("facts", Facts, nullable=False),
)

source = Table(
    "fb_source",
    metadata,
    Column("case_id", Text, ForeignKey("fb_case.id"), primary_key=True),
    Column("provider_id", Text, ForeignKey("fb_provider.id"), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("pin_state", Text, nullable=False),
    Column("patient_id", Text, nullable=False, default=""),
    Column("decided_by", Text, nullable=False, default=""),
    Column("reason", Text, nullable=False, default=""),
    Column("candidates", Facts, nullable=False),
    Column("step", Text, nullable=False, default=""),
    Column("error_code", Text, nullable=False, default=""),
    Column("since", Instant),
    # What a person told the pull to do (`pause`, `cancel`), and until when a hospital has it rest.
    Column("told", Text, nullable=False, server_default=""),
    Column("waits_until", Instant),
)

original = Table(
    "fb_original",
    metadata,
    Column("id", Text, primary_key=True),
    Column("case_id", Text, index=True),
    Column("source", Text, nullable=False),
    Column("how", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("status", Integer),
    Column("content_type", Text, nullable=False, default=""),
    Column("headers", Facts, nullable=False),
    Column("facts", Facts, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("sha256", Text, nullable=False, index=True),
    Column("size", Integer, nullable=False),
    Column("previous", Text),
    Column("truncated", Boolean, nullable=False, default=False),
)

# One row per slice of a pull: source x type. The page cursor lives here, so that a pull that was
# killed goes on from its last page.
pull_slice = Table(
    "fb_slice",
    metadata,
    Column("case_id", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("type", Text, primary_key=True),
    Column("run", Integer, nullable=False, default=1),
    Column("question", Facts, nullable=False),
    Column("cursor", Text, nullable=False, default=""),
    Column("pages", Integer, nullable=False, default=0),
    Column("ended", Boolean, nullable=False, default=False),
    Column("evidence", Facts, nullable=False),
    Column("visited", Facts, nullable=False),
    Column("previous", Text, nullable=False, default=""),
    Column("restarts", Integer, nullable=False, server_default="0"),
    Column("began", Instant),
    Column("full_at", Instant),
    Column("since", Text, nullable=False, server_default=""),
)

# The ids that the pages of a slice have listed in one run: what a count is held against.
listed = Table(
    "fb_listed",
    metadata,
    Column("case_id", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("type", Text, primary_key=True),
    Column("run", Integer, primary_key=True),
    Column("id", Text, primary_key=True),
)

# What received records refer to on their own server, each to be read once.
target = Table(
    "fb_target",
    metadata,
    Column("case_id", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("id", Text, primary_key=True),
)

ledger = Table(
    "fb_ledger",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("case_id", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("version", Text, nullable=False, default=""),
    Column("state", Text, nullable=False),
    Column("original", Text, nullable=False, default=""),
    Column("position", Text, nullable=False, default=""),
    Column("base", Text, nullable=False, default=""),
    Column("rule", Text, nullable=False, default=""),
    Column("reason", Text, nullable=False, default=""),
    Column("target", Text, nullable=False, default=""),
    Column("entry", Text, nullable=False, default=""),
    Column("error_code", Text, nullable=False, default=""),
    Column("attempts", Integer, nullable=False, default=0),
    Column("sightings", Integer, nullable=False, default=1),
    UniqueConstraint("case_id", "source", "kind", "id", "version", name="fb_ledger_key"),
)

attachment = Table(
    "fb_attachment",
    metadata,
    Column("case_id", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("parent_kind", Text, primary_key=True),
    Column("parent_id", Text, primary_key=True),
    Column("parent_version", Text, primary_key=True),
    Column("path", Text, primary_key=True),
    Column("key_id", Text, nullable=False),
    Column("key_version", Text, nullable=False, default=""),
    Column("url", Text, nullable=False, default=""),
    Column("sha256", Text, nullable=False, default=""),
    Column("size", Integer, nullable=False, default=0),
    Column("content_type", Text, nullable=False, default=""),
    Column("declared", Text, nullable=False, default=""),
    Column("failure", Text, nullable=False, default=""),
    Column("reason", Text, nullable=False, default=""),
    Column("original", Text, nullable=False, default=""),
    Column("warnings", Facts, nullable=False),
    Column("done", Boolean, nullable=False, default=False),
)

instance = Table(
    "fb_instance",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("source", Text, nullable=False),
    Column("sop_uid", Text, nullable=False),
    Column("dataset_sha256", Text, nullable=False),
    Column("case_id", Text, index=True),
    Column("study_uid", Text, nullable=False),
    Column("series_uid", Text, nullable=False),
    Column("sop_class", Text, nullable=False),
    Column("transfer_syntax", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("original", Text, nullable=False),
    Column("accession", Text, nullable=False, default=""),
    Column("issuer", Text, nullable=False, default=""),
    Column("modality", Text, nullable=False, default=""),
    Column("header", Facts, nullable=False),
    Column("pushed", Boolean, nullable=False, default=False),
    Column("quarantined", Text, nullable=False, default=""),
    Column("stored_at", Instant, nullable=False),
    Index("fb_instance_study", "study_uid"),
    Index("fb_instance_sop", "sop_uid"),
)
# One row in each case that has the image, and one while it waits for a case.
Index(
    "fb_instance_key",
    func.coalesce(instance.c.case_id, ""),
    instance.c.source,
    instance.c.sop_uid,
    instance.c.dataset_sha256,
    unique=True,
)

record = Table(
    "fb_record",
    metadata,
    Column("case_id", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("sha256", Text, nullable=False),
    Column("entries", Integer, nullable=False),
    Column("made_at", Instant, nullable=False),
    Column("released_by", Text, nullable=False, default=""),
    Column("released_reason", Text, nullable=False, default=""),
    Column("unresolved", Facts, nullable=False),
)

opinion = Table(
    "fb_opinion",
    metadata,
    Column("id", Text, primary_key=True),
    Column("case_id", Text, nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("content", Facts, nullable=False),
    Column("document", Text, nullable=False),
    Column("pdf", Text, nullable=False),
    Column("signed_by", Text, nullable=False),
    Column("signed_at", Instant, nullable=False),
    UniqueConstraint("case_id", "version", name="fb_opinion_version"),
)

# One opinion version has at most one delivery per destination: the constraint says so.
delivery = Table(
    "fb_delivery",
    metadata,
    Column("id", Text, primary_key=True),
    Column("case_id", Text, nullable=False, index=True),
    Column("opinion_id", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("destination", Text, nullable=False),
    Column("identifier", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("location", Text, nullable=False, default=""),
    Column("read_back", Text, nullable=False, default=""),
    Column("difference", Text, nullable=False, default=""),
    Column("reason", Text, nullable=False, default=""),
    Column("moved_at", Instant, nullable=False),
    UniqueConstraint("opinion_id", "version", "destination", name="fb_delivery_once"),
)

event = Table(
    "fb_event",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("name", Text, nullable=False),
    Column("case_id", Text, index=True),
    Column("actor", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("facts", Facts, nullable=False),
    sqlite_autoincrement=True,
)

worker = Table(
    "fb_worker",
    metadata,
    Column("slot", Text, primary_key=True),
    Column("beat", Instant, nullable=False),
    Column("serving", Text, nullable=False, default=""),
    Column("takeovers", Integer, nullable=False, default=0),
)

login = Table(
    "fb_login",
    metadata,
    Column("token_sha256", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("made_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("used", Boolean, nullable=False, default=False),
)

signing_key = Table(
    "fb_signing_key",
    metadata,
    Column("kid", Text, primary_key=True),
    Column("alg", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("made_at", Instant, nullable=False),
    # The stages of a rotation; empty times are those of a first key.
    Column("signs_from", Instant),
    Column("retires_at", Instant),
    Column("gone_at", Instant),
)

# What is learned of a provider's endpoint, and the next time at which it may be asked.
endpoint = Table(
    "fb_endpoint",
    metadata,
    Column("provider_id", Text, primary_key=True),
    Column("facts", Facts, nullable=False),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("next_attempt_at", Instant),
    Column("updated_at", Instant, nullable=False),
)

# Which instances a source says a study has, by witness (QIDO instances, C-FIND IMAGE, ...).
claim = Table(
    "fb_claim",
    metadata,
    Column("case_id", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("witness", Text, primary_key=True),
    Column("sop_uid", Text, primary_key=True),
    Column("study_uid", Text, nullable=False),
    Column("series_uid", Text, nullable=False, default=""),
    Column("sop_class", Text, nullable=False, default=""),
)

# A bulk export of a source: one job at a time, and the files of its manifests.
export = Table(
    "fb_export",
    metadata,
    Column("case_id", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("run", Integer, nullable=False),
    Column("types", Facts, nullable=False),
    Column("paths", Facts, nullable=False),
    Column("begun_at", Instant, nullable=False),
    Column("since", Text, nullable=False, default=""),
    Column("stage", Text, nullable=False),
    Column("status_url", Text, nullable=False, default=""),
    Column("poll_url", Text, nullable=False, default=""),
    Column("manifests", Integer, nullable=False, default=0),
    Column("transaction_time", Text, nullable=False, default=""),
    Column("polls", Integer, nullable=False, default=0),
    Column("failures", Integer, nullable=False, default=0),
    Column("restarts", Integer, nullable=False, default=0),
    Column("progress", Text, nullable=False, default=""),
    Column("error_code", Text, nullable=False, default=""),
)

export_file = Table(
    "fb_export_file",
    metadata,
    Column("case_id", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("needs_token", Boolean, nullable=False),
    Column("promised", Integer),
    Column("manifest", Text, nullable=False, default=""),
    Column("original", Text, nullable=False, default=""),
    Column("sha256", Text, nullable=False, default=""),
    Column("size", BigInteger, nullable=False, default=0),
    Column("whole", Boolean, nullable=False, default=False),
    Column("framed", Boolean, nullable=False, default=True),
    Column("validator", Text, nullable=False, default=""),
    Column("offset", BigInteger, nullable=False, default=0),
    Column("lines", Integer, nullable=False, default=0),
    Column("ours", Integer, nullable=False, default=0),
    Column("unclear", Integer, nullable=False, default=0),
    Column("bad", Integer, nullable=False, default=0),
    Column("attempts", Integer, nullable=False, default=0),
    Column("failure", Text, nullable=False, default=""),
    Column("done", Boolean, nullable=False, default=False),
)
