-- Extends many exclusive holds at once.
-- KEYS: the x of each. ARGV: id and lease of each. Returns for each: 0 not held, 1 held, 2 held and somebody waits.
-- Safe to repeat: a lease is set, not added to.
local found = {}
for index, key in ipairs(KEYS) do
  local id = ARGV[2 * index - 1]
  local value = redis.call('GET', key)
  if not value or string.sub(value, 1, #id + 1) ~= id .. '|' then
    found[index] = 0
  else
    redis.call('PEXPIRE', key, ARGV[2 * index])
    found[index] = string.sub(value, -1) == '!' and 2 or 1
  end
end
return found
