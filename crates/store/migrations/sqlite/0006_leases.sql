-- Who looks after what, where several processes could: until when, in milliseconds since 1970 by the clock of the database.
CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE INDEX leases_by_holder ON leases (holder);
