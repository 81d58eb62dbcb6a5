-- What was approved of the tools of a server, and what waits for somebody to approve it. Digests are of canonical forms.
CREATE TABLE tool_pins (
    server_uid     TEXT NOT NULL REFERENCES resources (uid) ON DELETE CASCADE,
    name           TEXT NOT NULL,
    digest         TEXT,
    definition     TEXT,
    pending_digest TEXT,
    pending        TEXT,
    why            TEXT,
    PRIMARY KEY (server_uid, name)
) STRICT;
