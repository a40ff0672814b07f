-- A process says that its circuit opened. The group opens when enough of the processes that are alive say so.
-- KEYS[1] votes: sorted set, member = process, score = when the vote lapses (milliseconds)
-- KEYS[2] members: sorted set, member = process, score = when it is taken for dead
-- KEYS[3] state: hash { state, generation, until }
-- KEYS[4] the lease of the one that probes
-- ARGV[1] process   ARGV[2] vote lasts, ms   ARGV[3] open for, ms   ARGV[4] smallest quorum
-- ARGV[5] share of the living that is a quorum   ARGV[6] keys last, ms   ARGV[7] channel   ARGV[8] member lasts, ms
-- returns { state, generation, milliseconds that it stays open }
-- Safe to repeat: a vote is set, not added, and an open group is not opened again by its own quorum.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('ZADD', KEYS[2], now + tonumber(ARGV[8]), ARGV[1])
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
redis.call('PEXPIRE', KEYS[1], ARGV[6])
redis.call('PEXPIRE', KEYS[2], ARGV[6])
local state = redis.call('HGET', KEYS[3], 'state') or 'closed'
local generation = tonumber(redis.call('HGET', KEYS[3], 'generation') or '0')
local ends = tonumber(redis.call('HGET', KEYS[3], 'until') or '0')
local votes = redis.call('ZCARD', KEYS[1])
local quorum = math.max(tonumber(ARGV[4]), math.ceil(tonumber(ARGV[5]) * redis.call('ZCARD', KEYS[2])))
-- The one that probed and failed votes again and so keeps the group open, without a new quorum.
local prober = redis.call('GET', KEYS[4]) == ARGV[1]
if (state == 'closed' and votes >= quorum) or (state == 'open' and prober) then
  generation = generation + 1
  ends = now + tonumber(ARGV[3])
  redis.call('HSET', KEYS[3], 'state', 'open', 'generation', generation, 'until', string.format('%.0f', ends))
  redis.call('PEXPIRE', KEYS[3], ARGV[6])
  redis.call('DEL', KEYS[4])
  redis.call('PUBLISH', ARGV[7], generation)
  state = 'open'
end
return { state, generation, math.max(0, ends - now) }
