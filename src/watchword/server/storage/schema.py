"""The tables of both databases, in SQLAlchemy Core.

An aggregate is one row: a few columns to find and order it by, a version, and the record itself as
JSON. `change` is the feed that caches follow: every transaction that changes the registry writes to
it, and its `seq` grows in commit order.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()
_big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _aggregate(name: str, *columns: sa.schema.SchemaItem) -> sa.Table:
    """The table of one aggregate: tenant_id + id is the key, `sort` the column that lists are ordered by."""
    return sa.Table(
        name,
        metadata,
        sa.Column("tenant_id", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("sort", sa.Text, nullable=False),
        sa.Column("deleted", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        *columns,
        sa.Index(f"{name}_by_sort", "tenant_id", "deleted", "sort", "id"),
    )


def living(table: sa.Table) -> sa.ColumnElement[bool]:
    """ "Not deleted" for look-ups by key, written so that PostgreSQL does not choose the index of names for it.

    `NOT deleted` fits the index of names, and PostgreSQL, as long as it has no statistics, thinks that this narrows as
    much as the key does, and reads the whole tenant.
    """
    return sa.cast(table.c.deleted, sa.Integer) == 0


meta = sa.Table(
    "meta",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.LargeBinary, nullable=False),
)
tenant = _aggregate("tenant", sa.UniqueConstraint("sort", name="tenant_slug"))
application = _aggregate("application")
api = _aggregate("api", sa.UniqueConstraint("tenant_id", "sort", name="api_identifier"))
role = _aggregate("role", sa.UniqueConstraint("tenant_id", "sort", name="role_name"))
signing_key = _aggregate("signing_key", sa.Column("algorithm", sa.Text), sa.Column("state", sa.Text))
sa.Index(
    "one_active_key",
    signing_key.c.tenant_id,
    signing_key.c.algorithm,
    unique=True,
    sqlite_where=signing_key.c.state == "active",
    postgresql_where=signing_key.c.state == "active",
)
initial_token = _aggregate("initial_token")
claim = sa.Table(
    "claim",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Index("claim_by_holder", "tenant_id", "holder"),
)
"""Values that only one application of a tenant may have, such as a software id."""
enrolment_group = _aggregate("enrolment_group", sa.UniqueConstraint("tenant_id", "sort", name="enrolment_group_name"))
place = sa.Table(
    "place",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("group_id", sa.Text, primary_key=True),
    sa.Column("taken", sa.Integer, nullable=False),
)
"""The number of living applications in each enrolment group."""
enrolment_code = sa.Table(
    "enrolment_code",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("group_id", sa.Text, nullable=False),
    sa.Column("uses_left", sa.Integer, nullable=False),
    sa.Column("expires_at", _big, nullable=False, index=True),
    sa.Index("enrolment_code_by_group", "tenant_id", "group_id"),
)
"""Enrolment codes, by their HMAC."""
expected_device = sa.Table(
    "expected_device",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("entry", sa.Text, primary_key=True),
    sa.Column("group_id", sa.Text, nullable=False),
    sa.Column("serial", sa.Text),
    sa.Column("key", sa.Text),
    sa.UniqueConstraint("tenant_id", "serial", name="expected_serial"),
    sa.UniqueConstraint("tenant_id", "key", name="expected_key"),
    sa.Index("expected_device_by_group", "tenant_id", "group_id", "entry"),
)
"""Devices that are expected to enrol, by serial number and by the thumbprint of their key."""
application_tag = sa.Table(
    "application_tag",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("tag", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sqlite_with_rowid=False,
)
"""The tags by which living applications are found (`registry/tags.py`); the key is the index."""
pending_enrolment = _aggregate(
    "pending_enrolment",
    sa.Column("group_id", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("mark", sa.Text, nullable=False),
    sa.Column("ticket", sa.Text),
    sa.Column("expires_at", _big, nullable=False),
    sa.UniqueConstraint("tenant_id", "mark", name="pending_mark"),
    sa.UniqueConstraint("tenant_id", "ticket", name="pending_ticket"),
    sa.Index("pending_enrolment_by_group", "tenant_id", "group_id", "state", "expires_at"),
    sa.Index("pending_enrolment_by_state", "tenant_id", "state", "sort", "id"),
)
"""Devices that wait for approval. Enrolling the device deletes its row."""
device_authority = _aggregate("device_authority")
trusted_issuer = _aggregate("trusted_issuer", sa.UniqueConstraint("tenant_id", "sort", name="trusted_issuer_name"))
secret_use = sa.Table(
    "secret_use",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("secret_id", sa.Text, primary_key=True),
    sa.Column("last_used_at", _big, nullable=False),
    sqlite_with_rowid=False,
)
"""Without a row id, in order of its key: rows of one fleet, which are written together, share pages."""
revoked = sa.Table(
    "revoked",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("token_id", sa.Text, primary_key=True),
    sa.Column("expires_at", _big, nullable=False, index=True),
)
revocation = sa.Table(
    "revocation",
    metadata,
    sa.Column("seq", _big, primary_key=True, autoincrement=True),
    sa.Column("tenant_id", sa.Text, nullable=False),
    sa.Column("audience", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("ref", sa.Text, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("not_before_ms", _big, nullable=False),
    sa.Column("expires_at", _big, nullable=False, index=True),
    sa.UniqueConstraint("tenant_id", "kind", "ref", "audience", name="revocation_once"),
    sa.Index("revocation_by_seq", "tenant_id", "seq"),
    sqlite_autoincrement=True,
)
status_entry = sa.Table(
    "status_entry",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("list_name", sa.Text, primary_key=True),
    sa.Column("idx", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("expires_at", _big, nullable=False, index=True),
)
opaque_token = sa.Table(
    "opaque_token",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("hash", sa.Text, primary_key=True),
    sa.Column("expires_at", _big, nullable=False, index=True),
    sa.Column("claims", sa.LargeBinary, nullable=False),
)
replay_mark = sa.Table(
    "replay_mark",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("key", sa.LargeBinary, primary_key=True),
    sa.Column("expires_at", _big, nullable=False, index=True),
)
idempotency_key = sa.Table(
    "idempotency_key",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("actor", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("fingerprint", sa.LargeBinary, nullable=False),
    sa.Column("at", _big, nullable=False, index=True),
    sa.Column("answer", sa.LargeBinary, nullable=True),
)
"""Requests that were carried out. The row is in the transaction of the request, its encrypted answer comes after."""
debt = sa.Table(
    "debt",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("until", sa.Double, nullable=False),
)
"""The state of rate limits. No index on `until`: PostgreSQL then updates a row in place."""
change = sa.Table(
    "change",
    metadata,
    sa.Column("seq", _big, primary_key=True, autoincrement=True),
    sa.Column("tenant_id", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("ref", sa.Text, nullable=False),
    sqlite_autoincrement=True,
)
audit = sa.Table(
    "audit",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("chain", sa.Text, primary_key=True),
    sa.Column("seq", _big, primary_key=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    sa.Column("mac", sa.LargeBinary),
    sa.Index("audit_by_time", "tenant_id", "at"),
)
checkpoint = sa.Table(
    "checkpoint",
    metadata,
    sa.Column("id", _big, primary_key=True, autoincrement=True),
    sa.Column("statement", sa.LargeBinary, nullable=False),
    sa.Column("signature", sa.LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)
audit_checkpoint = sa.Table(
    "audit_checkpoint",
    metadata,
    sa.Column("number", _big, primary_key=True, autoincrement=False),
    sa.Column("statement", sa.LargeBinary, nullable=False),
    sa.Column("mac", sa.LargeBinary, nullable=False),
)
"""The chain of checkpoints. `checkpoint` has those of older versions: verified, and no longer written."""
anchor = sa.Table(
    "anchor",
    metadata,
    sa.Column("id", _big, primary_key=True, autoincrement=True),
    sa.Column("statement", sa.LargeBinary, nullable=False),
    sa.Column("signature", sa.LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)
