-- Reads who holds a resource and who waits.
-- KEYS: x, s, h, q, w, t. ARGV: none. Returns {server time, x, its life in ms, {id, end, info, ...}, {id, info, ...}}.
-- Safe to repeat: it only reads.
local clock = redis.call('TIME')
local holders = {}
for index, text in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES')) do
  holders[#holders + 1] = text
  if index % 2 == 0 then
    holders[#holders + 1] = redis.call('HGET', KEYS[3], holders[#holders - 1]) or ''
  end
end
local waiters = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[4], 0, -1)) do
  waiters[#waiters + 1] = id
  waiters[#waiters + 1] = redis.call('HGET', KEYS[5], id) or ''
end
local ms = math.floor((clock[1] * 1000000 + clock[2]) / 1000)
return { ms, redis.call('GET', KEYS[1]) or '', redis.call('PTTL', KEYS[1]), holders, waiters }
