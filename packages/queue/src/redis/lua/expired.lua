-- Tells which workers are lost, and which are known to live.
-- KEYS: 1 leases   ARGV: 1 '1' to name those that live also when none is lost
-- returns: ids of workers whose lease has passed; ids of the others; the time
-- Safe to repeat: it only reads.
local call = redis.call
local t = call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local lost = call('ZRANGEBYSCORE', KEYS[1], '-inf', now)
if #lost == 0 and ARGV[1] ~= '1' then return { lost, {}, now } end
return { lost, call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf'), now }
