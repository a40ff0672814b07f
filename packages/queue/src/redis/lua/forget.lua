-- Forgets workers that are lost: their place, and what was kept for the repetition of their turns.
-- KEYS: 1 leases, 2 workers, 3 configuration
-- ARGV: 1 how many workers; the workers; the queues
-- returns: how many were forgotten
-- Safe to repeat: a worker that came back to life meanwhile is left alone, with all that its turns need.
local call = redis.call
local t = call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local n, count = tonumber(ARGV[1]), 0
for i = 2, n + 1 do
  local worker = ARGV[i]
  local lease = call('ZSCORE', KEYS[1], worker)
  if not lease or tonumber(lease) <= now then
    count = count + 1
    call('ZREM', KEYS[1], worker)
    call('HDEL', KEYS[2], worker)
    for q = n + 2, #ARGV do
      local row = 'n:' .. ARGV[q] .. '\n' .. worker
      call('HDEL', KEYS[3], row .. '\n0', row .. '\n1')
    end
  end
end
return count
