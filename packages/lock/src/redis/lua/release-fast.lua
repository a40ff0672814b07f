-- Releases an exclusive lock that nobody waits for.
-- KEYS: x. ARGV: 1 id. Returns 1 released, 0 not held, 2 somebody waits: run release.lua.
-- Safe to repeat: only this id's hold is deleted, and ids are never used again.
local value = redis.call('GET', KEYS[1])
if not value or string.sub(value, 1, #ARGV[1] + 1) ~= ARGV[1] .. '|' then
  return 0
end
if string.sub(value, -1) == '!' then
  return 2
end
redis.call('DEL', KEYS[1])
return 1
