-- What people say of a resource, whose it is, and what was last applied to it.
ALTER TABLE resources ADD COLUMN labels TEXT NOT NULL DEFAULT '{}';
ALTER TABLE resources ADD COLUMN annotations TEXT NOT NULL DEFAULT '{}';
ALTER TABLE resources ADD COLUMN owner TEXT;
ALTER TABLE resources ADD COLUMN applied TEXT;
-- The spec that it was given by a program that it is built into; NULL if it isn't built in.
ALTER TABLE resources ADD COLUMN builtin TEXT;

CREATE INDEX resources_of_owner ON resources (owner);
CREATE INDEX resources_of_scope ON resources (scope);
CREATE INDEX resources_by_name ON resources (kind, name);
CREATE INDEX resources_by_version ON resources (resource_version);

-- What specs refer to: a resource of this name in the scope of the one that refers, or of none.
CREATE TABLE refs (
    uid TEXT NOT NULL REFERENCES resources (uid) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    scope TEXT NOT NULL,
    name TEXT NOT NULL,
    field TEXT NOT NULL
);

CREATE INDEX refs_of_resource ON refs (uid);
CREATE INDEX refs_to_resource ON refs (kind, name);

CREATE INDEX history_of_resource ON history (uid, revision);
CREATE INDEX history_of_name ON history (kind, name, revision);

-- History was of specs alone; from here on it is of whole resources.
CREATE TABLE old_history AS
SELECT h.*,
       COALESCE((SELECT created_at FROM resources r WHERE r.uid = h.uid),
                (SELECT MIN(o.at) FROM history o WHERE o.uid = h.uid)) AS created_at,
       (SELECT COUNT(*) FROM history o
        WHERE o.uid = h.uid AND o.revision <= h.revision AND o.change <> 'deleted') AS generation,
       COALESCE((SELECT MAX(o.revision) FROM history o WHERE o.uid = h.uid AND o.revision < h.revision), 0) AS previous
FROM history h;

UPDATE history SET
    before = (SELECT json_object('metadata', json_object('uid', o.uid, 'name', o.name,
                 'scope', NULLIF(o.scope, ''),
                 'generation', MAX(CASE WHEN o.change = 'deleted' THEN o.generation ELSE o.generation - 1 END, 1),
                 'resourceVersion', o.previous, 'createdAt', o.created_at, 'updatedAt', o.created_at),
                 'spec', json(o.before))
              FROM old_history o WHERE o.revision = history.revision)
WHERE before IS NOT NULL;

UPDATE history SET
    after = (SELECT json_object('metadata', json_object('uid', o.uid, 'name', o.name,
                 'scope', NULLIF(o.scope, ''), 'generation', MAX(o.generation, 1),
                 'resourceVersion', o.revision, 'createdAt', o.created_at, 'updatedAt', o.at),
                 'spec', json(o.after))
             FROM old_history o WHERE o.revision = history.revision)
WHERE after IS NOT NULL;

DROP TABLE old_history;

-- Values of secrets, sealed; a version is the revision from which on they were the values. They outlive their resource
-- as long as its history does, so that it can be brought back.
CREATE TABLE sealed (
    uid TEXT NOT NULL,
    version BIGINT NOT NULL,
    name TEXT NOT NULL,
    key_id TEXT NOT NULL,
    wrapped_key BLOB NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (uid, version)
);

-- The key pair that others seal for: one row. Whoever can open its private half has the right key.
CREATE TABLE sealing (
    one BIGINT PRIMARY KEY,
    public BLOB NOT NULL,
    key_id TEXT NOT NULL,
    private BLOB NOT NULL
);

-- Digests of passwords, in the text form of PHC.
CREATE TABLE passwords (
    uid TEXT PRIMARY KEY REFERENCES resources (uid) ON DELETE CASCADE,
    digest TEXT NOT NULL
);

CREATE TABLE logins (
    id TEXT PRIMARY KEY,
    uid TEXT NOT NULL REFERENCES resources (uid) ON DELETE CASCADE,
    digest BLOB NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    last_used_at BIGINT,
    impersonator TEXT
);

CREATE INDEX logins_of_user ON logins (uid);

CREATE TABLE invites (
    id TEXT PRIMARY KEY,
    digest BLOB NOT NULL,
    content TEXT NOT NULL,
    made_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    redeemed_at BIGINT
);

-- What others say has happened. Nobody vouches for it.
CREATE TABLE claims (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    event_kind TEXT NOT NULL,
    session_id TEXT,
    project_name TEXT,
    correlation_id TEXT,
    user_name TEXT,
    reported_by TEXT NOT NULL,
    content TEXT NOT NULL
);

CREATE INDEX claims_by_time ON claims (at);
CREATE INDEX claims_of_session ON claims (session_id);
