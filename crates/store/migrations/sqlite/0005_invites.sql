-- The credential that an invite was made with, where it isn't a login: it ends with that. Of earlier ones it isn't known.
ALTER TABLE invites ADD COLUMN made_with TEXT;
