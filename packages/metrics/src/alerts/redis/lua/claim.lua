-- Claims the right to tell one alert's state.
--
-- KEYS[1]  a hash with the fields state, owner, phase
-- ARGV[1]  who asks   ARGV[2] the state to be told   ARGV[3] how long a claim holds while it is being told (ms)
-- returns  'claimed', 'told' (another has told this state) or 'busy' (another is telling it now)
--
-- Safe to repeat: the owner of a claim gets it again.
local held = redis.call('HMGET', KEYS[1], 'state', 'owner', 'phase')
if held[1] == ARGV[2] then
  if held[3] == 'told' then return 'told' end
  if held[2] ~= ARGV[1] then return 'busy' end
end
redis.call('HSET', KEYS[1], 'state', ARGV[2], 'owner', ARGV[1], 'phase', 'telling')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 'claimed'
