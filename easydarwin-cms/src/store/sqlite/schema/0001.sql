-- Devices, their secrets, people, keys, groups, the audit.
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE groups (
    path TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TABLE devices (
    serial TEXT PRIMARY KEY,
    label TEXT NOT NULL DEFAULT '',
    tags TEXT NOT NULL DEFAULT '[]',
    group_path TEXT NOT NULL DEFAULT '',
    enabled INTEGER NOT NULL DEFAULT 1,
    created INTEGER NOT NULL,
    name TEXT NOT NULL DEFAULT '',
    tag TEXT NOT NULL DEFAULT '',
    app_type TEXT NOT NULL DEFAULT '',
    terminal_type TEXT NOT NULL DEFAULT '',
    channels TEXT NOT NULL DEFAULT '[]',
    last_seen INTEGER,
    last_cause TEXT NOT NULL DEFAULT '',
    -- What is shown, in lower case: the order by name.
    name_key TEXT NOT NULL DEFAULT '',
    -- All that is searched, in lower case.
    search TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;
CREATE INDEX devices_by_group ON devices (group_path, serial);
CREATE INDEX devices_by_name ON devices (name_key, serial);
CREATE INDEX devices_by_created ON devices (created, serial);

CREATE TABLE credentials (
    serial TEXT NOT NULL REFERENCES devices (serial) ON DELETE CASCADE,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    secret BLOB NOT NULL,
    created INTEGER NOT NULL,
    last_used INTEGER,
    revoked INTEGER,
    PRIMARY KEY (serial, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE accounts (
    name TEXT PRIMARY KEY,
    password TEXT,
    enabled INTEGER NOT NULL,
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    digest BLOB NOT NULL UNIQUE,
    owner TEXT REFERENCES accounts (name) ON DELETE CASCADE,
    created INTEGER NOT NULL,
    expires INTEGER,
    revoked INTEGER
) STRICT, WITHOUT ROWID;

-- Who (a person or a key) has which role over which subtree.
CREATE TABLE grants (
    holder_kind TEXT NOT NULL,
    holder TEXT NOT NULL,
    position INTEGER NOT NULL,
    role TEXT NOT NULL,
    group_path TEXT NOT NULL,
    PRIMARY KEY (holder_kind, holder, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE policy (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    author TEXT NOT NULL,
    origin TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
