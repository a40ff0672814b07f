-- Prolongs a lease.
-- KEYS 1 the lease
-- ARGV 1 the holder's token, 2 how long the lease lasts in ms
-- returns 1 prolonged, 0 it is no longer the holder's
-- Safe to repeat: the lease ends that much later.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
