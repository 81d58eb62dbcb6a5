-- What was approved of the tools of a server, and what waits for somebody to approve it. Digests are of canonical forms.
CREATE TABLE tool_pins (
    server_uid     TEXT COLLATE "C" NOT NULL REFERENCES resources (uid) ON DELETE CASCADE,
    name           TEXT COLLATE "C" NOT NULL,
    digest         TEXT COLLATE "C",
    definition     TEXT COLLATE "C",
    pending_digest TEXT COLLATE "C",
    pending        TEXT COLLATE "C",
    why            TEXT COLLATE "C",
    PRIMARY KEY (server_uid, name)
);
