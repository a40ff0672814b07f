-- One service. KEYS: 1 i id -> body, 2 o id -> owner, 3 t id -> end of its lease, 4 l id -> when it said goodbye,
-- 5 m { v version, e epoch }. ARGV: 1 channel, 2 the epoch to begin if there is none.
-- Invariants: i, o and t hold the same ids; v only grows, also when the data was lost, since it begins at the clock.
local i, o, t, l, m = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local channel = ARGV[1]
local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)
local KEEP = 7 * 24 * 3600 * 1000

local function bump(kind, id, body)
  local v = tonumber(redis.call('HGET', m, 'v') or ms) + 1
  local e = redis.call('HGET', m, 'e') or ARGV[2]
  local text = string.format('%.0f', v)
  redis.call('HSET', m, 'v', text, 'e', e)
  redis.call('PEXPIRE', m, KEEP)
  redis.call('PUBLISH', channel, text .. '\n' .. e .. '\n' .. kind .. '\n' .. id .. '\n' .. body)
  return text
end

-- Takes out what has ended; in bites, since a list of arguments has a limit.
local function sweep()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', t, '-inf', ms, 'LIMIT', 0, 1000)) do
    redis.call('ZREM', t, id)
    redis.call('HDEL', i, id)
    redis.call('HDEL', o, id)
    bump('expire', id, '')
  end
end
