-- Deletes a value; a load that runs loses its lease, and so cannot bring it back.
-- KEYS 1 the entry, 2 its lease
-- ARGV none
-- returns 1 if there was a value
-- Safe to repeat: there is nothing left to delete.
redis.call('UNLINK', KEYS[2])
return redis.call('UNLINK', KEYS[1])
