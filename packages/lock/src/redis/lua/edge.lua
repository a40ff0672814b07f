-- Writes that an attempt of a holder waits, beside the lock that it holds.
-- KEYS: edges. ARGV: 1 attempt, 2 the edge, 3 life in ms. Returns 1.
-- Safe to repeat: the same field is written again.
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
