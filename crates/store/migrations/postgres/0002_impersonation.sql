-- The credential that a login was made with by impersonation: it ends with that. Of earlier ones it isn't known, so they
-- end here.
ALTER TABLE logins ADD COLUMN made_with TEXT COLLATE "C";

DELETE FROM logins WHERE impersonator IS NOT NULL;
