-- Renews leases of one service. KEYS: 1 o id -> owner, 2 t id -> end of its lease.
-- ARGV: id, owner, lease in ms; for each instance.
-- Returns for each 1 if it is renewed, 0 if the id is not known (any more), 2 if somebody else has it.
-- Safe to repeat: it only sets ends that are counted from now. It tells nobody, and costs no version.
local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)
local outcomes = {}
for n = 1, #ARGV, 3 do
  local owner = redis.call('HGET', KEYS[1], ARGV[n])
  if not owner then
    outcomes[#outcomes + 1] = 0
  elseif owner ~= ARGV[n + 1] then
    outcomes[#outcomes + 1] = 2
  else
    redis.call('ZADD', KEYS[2], ms + ARGV[n + 2], ARGV[n])
    outcomes[#outcomes + 1] = 1
  end
end
return outcomes
