-- Calls that were made under a key of their caller, so that none is made twice.
CREATE TABLE receipts (
    credential TEXT NOT NULL,
    key TEXT NOT NULL,
    digest BLOB NOT NULL,
    process TEXT NOT NULL,
    is_done BOOLEAN NOT NULL,
    reply BLOB,
    claimed_at BIGINT NOT NULL,
    PRIMARY KEY (credential, key)
);

CREATE INDEX receipts_by_age ON receipts (claimed_at);
