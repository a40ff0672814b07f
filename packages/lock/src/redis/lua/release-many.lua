-- release-fast.lua for many locks at once.
-- KEYS: the x of each. ARGV: the id of each. Returns for each: 1 released, 0 not held, 2 somebody waits: run release.lua.
-- Safe to repeat: as release-fast.lua.
local results = {}
for index, key in ipairs(KEYS) do
  local id = ARGV[index]
  local value = redis.call('GET', key)
  if not value or string.sub(value, 1, #id + 1) ~= id .. '|' then
    results[index] = 0
  elseif string.sub(value, -1) == '!' then
    results[index] = 2
  else
    redis.call('DEL', key)
    results[index] = 1
  end
end
return results
