-- Invalidates a tag or a namespace: its version becomes higher than ever before.
-- KEYS 1 the counter
-- ARGV 1 how long it must live from now on, in ms
-- returns the new version, or '' when there is no memory for it: then the counter is deleted, which invalidates as well
-- Safe to repeat: it is invalidated once more.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local version = tonumber(redis.call('GET', KEYS[1]) or '0') + 1
if now > version then version = now end
local text = string.format('%.0f', version)
local life = math.max(tonumber(ARGV[1]), redis.call('PTTL', KEYS[1]))
local stored = redis.pcall('SET', KEYS[1], text, 'PX', life)
if stored.err then
  redis.call('UNLINK', KEYS[1])
  return ''
end
return text
