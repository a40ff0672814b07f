-- Gives a lease back.
-- KEYS 1 the lease
-- ARGV 1 the holder's token
-- returns 1 given back, 0 it was no longer the holder's
-- Safe to repeat: another holder's lease is left alone.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('UNLINK', KEYS[1])
