-- Stores what the holder of a lease has loaded, and gives the lease back.
-- KEYS 1 the entry, 2 its lease
-- ARGV 1 the holder's token, 2 the value, 3 its life in ms
-- returns 1 stored, 0 refused: the lease has lapsed, or an invalidation or a write has taken it away
-- Safe to repeat: the lease is gone after the first time, and the value stays.
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('UNLINK', KEYS[2])
return 1
