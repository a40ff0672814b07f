-- Says that a process is alive, tells the state of the group, and gives the probe to one process when the time has come.
-- KEYS[1] members   KEYS[2] state hash   KEYS[3] the lease of the one that probes
-- ARGV[1] process   ARGV[2] member lasts, ms   ARGV[3] lease lasts, ms   ARGV[4] keys last, ms
-- returns { state, generation, milliseconds that it stays open, whether this process probes 0|1 }
-- Safe to repeat: who has the lease gets it again, and nobody else does until it lapses.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
local state = redis.call('HGET', KEYS[2], 'state') or 'closed'
local generation = tonumber(redis.call('HGET', KEYS[2], 'generation') or '0')
local ends = tonumber(redis.call('HGET', KEYS[2], 'until') or '0')
local mine = 0
if state == 'open' and ends <= now then
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
  local owner = redis.call('GET', KEYS[3])
  if not owner then
    redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[3])
    owner = ARGV[1]
  end
  if owner == ARGV[1] then mine = 1 end
end
return { state, generation, math.max(0, ends - now), mine }
