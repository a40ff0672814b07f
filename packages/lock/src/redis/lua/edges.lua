-- Reads who has a lock, and what each of them waits for.
-- KEYS: x, s, edges. ARGV: none. Returns {{holder, ...}, {edge, ...}}, an edge as edge.lua was given it.
-- Safe to repeat: it only reads.
local value = redis.call('GET', KEYS[1])
local holders = {}
if value and string.sub(value, 1, 1) == '*' then
  local clock = redis.call('TIME')
  local now = string.format('(%.0f', (clock[1] * 1000000 + clock[2]) / 1000)
  holders = redis.call('ZRANGEBYSCORE', KEYS[2], now, '+inf')
elseif value then
  holders = { string.match(value, '^([^|!]+)') }
end
return { holders, redis.call('HVALS', KEYS[3]) }
