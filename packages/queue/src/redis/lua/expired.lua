-- Tells which workers are lost, and which are known to live.
-- KEYS: 1 leases   ARGV: none
-- returns: ids of workers whose lease has passed; ids of the others; the time
-- Safe to repeat: it only reads.
local call = redis.call
local t = call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
return { call('ZRANGEBYSCORE', KEYS[1], '-inf', now), call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf'), now }
