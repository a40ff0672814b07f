-- Renews a worker's lease and tells what became of its claims.
-- KEYS: 1 leases, then the claims of each queue that is asked about
-- ARGV: 1 worker, 2 lease in ms; then for each of these queues: how many, and id, token of each
-- returns: for every claim asked about: '' when it stands, '!' when it is not ours, else why it is to be cancelled
-- Safe to repeat: it sets the lease to the same span from now, and reads.
local call = redis.call
local t = call('TIME')
call('ZADD', KEYS[1], t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[2], ARGV[1])
local reply, at = {}, 3
for k = 2, #KEYS do
  local n = tonumber(ARGV[at])
  at = at + 1
  for _ = 1, n do
    local own = call('HGET', KEYS[k], ARGV[at])
    local token = ARGV[at + 1]
    at = at + 2
    if not own or string.sub(own, 1, #token) ~= token then
      reply[#reply + 1] = '!'
    else
      local break_at = string.find(own, '\n', 1, true)
      reply[#reply + 1] = break_at and string.sub(own, break_at + 1) or ''
    end
  end
end
return reply
