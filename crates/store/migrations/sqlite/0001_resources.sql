-- Desired state: one row for each resource of whatever kind. No scope is the empty text, so that
-- names are unique there too.
CREATE TABLE resources (
    uid TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    scope TEXT NOT NULL,
    name TEXT NOT NULL,
    api_version TEXT NOT NULL,
    generation BIGINT NOT NULL,
    resource_version BIGINT NOT NULL,
    spec TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    UNIQUE (kind, scope, name)
);

-- What is the case, as the last reconciler saw it. No history.
CREATE TABLE status (
    uid TEXT PRIMARY KEY REFERENCES resources (uid) ON DELETE CASCADE,
    observed_generation BIGINT NOT NULL,
    status TEXT NOT NULL,
    updated_at TEXT NOT NULL
);

-- Every change of a resource, one for each revision, without a gap: also what watches read.
CREATE TABLE history (
    revision BIGINT PRIMARY KEY,
    uid TEXT NOT NULL,
    kind TEXT NOT NULL,
    scope TEXT NOT NULL,
    name TEXT NOT NULL,
    change TEXT NOT NULL,
    actor TEXT NOT NULL,
    at TEXT NOT NULL,
    before TEXT,
    after TEXT
);

-- Digests of secrets; never in history, watches or files.
CREATE TABLE credentials (
    id TEXT PRIMARY KEY,
    uid TEXT NOT NULL REFERENCES resources (uid) ON DELETE CASCADE,
    digest BLOB NOT NULL,
    expires_at BIGINT,
    last_used_at BIGINT
);

CREATE INDEX credentials_of_resource ON credentials (uid);

-- The last revision that was given out: one row.
CREATE TABLE revision (value BIGINT NOT NULL);

INSERT INTO revision (value) VALUES (0);
