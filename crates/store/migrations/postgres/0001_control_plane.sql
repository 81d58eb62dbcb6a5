-- The same as all migrations of SQLite together. Text is ordered by its bytes, as there.
CREATE TABLE resources (
    uid TEXT COLLATE "C" PRIMARY KEY,
    kind TEXT COLLATE "C" NOT NULL,
    scope TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    api_version TEXT NOT NULL,
    generation BIGINT NOT NULL,
    resource_version BIGINT NOT NULL,
    spec TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    labels TEXT NOT NULL DEFAULT '{}',
    annotations TEXT NOT NULL DEFAULT '{}',
    owner TEXT,
    applied TEXT,
    builtin TEXT,
    UNIQUE (kind, scope, name)
);

CREATE INDEX resources_of_owner ON resources (owner);
CREATE INDEX resources_of_scope ON resources (scope);
CREATE INDEX resources_by_name ON resources (kind, name);
CREATE INDEX resources_by_version ON resources (resource_version);

CREATE TABLE status (
    uid TEXT COLLATE "C" PRIMARY KEY REFERENCES resources (uid) ON DELETE CASCADE,
    observed_generation BIGINT NOT NULL,
    status TEXT NOT NULL,
    updated_at TEXT NOT NULL
);

CREATE TABLE history (
    revision BIGINT PRIMARY KEY,
    uid TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    scope TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    change TEXT NOT NULL,
    actor TEXT NOT NULL,
    at TEXT NOT NULL,
    before TEXT,
    after TEXT
);

CREATE INDEX history_of_resource ON history (uid, revision);
CREATE INDEX history_of_name ON history (kind, name, revision);

CREATE TABLE credentials (
    id TEXT COLLATE "C" PRIMARY KEY,
    uid TEXT COLLATE "C" NOT NULL REFERENCES resources (uid) ON DELETE CASCADE,
    digest BYTEA NOT NULL,
    expires_at BIGINT,
    last_used_at BIGINT
);

CREATE INDEX credentials_of_resource ON credentials (uid);

CREATE TABLE revision (value BIGINT NOT NULL);

INSERT INTO revision (value) VALUES (0);

CREATE TABLE receipts (
    credential TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    digest BYTEA NOT NULL,
    process TEXT NOT NULL,
    is_done BOOLEAN NOT NULL,
    reply BYTEA,
    claimed_at BIGINT NOT NULL,
    PRIMARY KEY (credential, key)
);

CREATE INDEX receipts_by_age ON receipts (claimed_at);

CREATE TABLE refs (
    uid TEXT COLLATE "C" NOT NULL REFERENCES resources (uid) ON DELETE CASCADE,
    kind TEXT COLLATE "C" NOT NULL,
    scope TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    field TEXT NOT NULL
);

CREATE INDEX refs_of_resource ON refs (uid);
CREATE INDEX refs_to_resource ON refs (kind, name);

CREATE TABLE sealed (
    uid TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    name TEXT NOT NULL,
    key_id TEXT NOT NULL,
    wrapped_key BYTEA NOT NULL,
    content BYTEA NOT NULL,
    PRIMARY KEY (uid, version)
);

CREATE TABLE sealing (
    one BIGINT PRIMARY KEY,
    public BYTEA NOT NULL,
    key_id TEXT NOT NULL,
    private BYTEA NOT NULL
);

CREATE TABLE passwords (
    uid TEXT COLLATE "C" PRIMARY KEY REFERENCES resources (uid) ON DELETE CASCADE,
    digest TEXT NOT NULL
);

CREATE TABLE logins (
    id TEXT COLLATE "C" PRIMARY KEY,
    uid TEXT COLLATE "C" NOT NULL REFERENCES resources (uid) ON DELETE CASCADE,
    digest BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    last_used_at BIGINT,
    impersonator TEXT
);

CREATE INDEX logins_of_user ON logins (uid);

CREATE TABLE invites (
    id TEXT COLLATE "C" PRIMARY KEY,
    digest BYTEA NOT NULL,
    content TEXT NOT NULL,
    made_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    redeemed_at BIGINT
);

CREATE TABLE claims (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at TEXT COLLATE "C" NOT NULL,
    event_kind TEXT NOT NULL,
    session_id TEXT COLLATE "C",
    project_name TEXT,
    correlation_id TEXT,
    user_name TEXT,
    reported_by TEXT NOT NULL,
    content TEXT NOT NULL
);

CREATE INDEX claims_by_time ON claims (at);
CREATE INDEX claims_of_session ON claims (session_id);
