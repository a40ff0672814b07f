-- Ends a claim: told, or given up so that another may try.
--
-- KEYS[1]  the hash of claim.lua
-- ARGV[1]  who held it   ARGV[2] the state   ARGV[3] '1' when it was told   ARGV[4] how long that is remembered (ms)
-- returns  1 when the claim was this owner's, else 0
--
-- Safe to repeat: settling twice writes the same again.
local held = redis.call('HMGET', KEYS[1], 'state', 'owner')
if held[1] ~= ARGV[2] or held[2] ~= ARGV[1] then return 0 end
if ARGV[3] == '1' then
  redis.call('HSET', KEYS[1], 'phase', 'told')
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
else
  redis.call('DEL', KEYS[1])
end
return 1
