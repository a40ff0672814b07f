-- Replaces the head, if it is still what the writer saw, and keeps the new version.
--
-- KEYS: 1 head (hash), 2 versions (hash), 3 log (stream), 4 request (string)
-- ARGV: 1 expected version, 2 expected digest, 3 new version, 4 document, 5 digest, 6 trail, 7 meta (JSON),
--       8 versions to keep, 9 length of the log, 10 seconds to remember the request,
--       11 "1" when the log tells the document too, so that readers need not ask
-- returns: { 1, version } when committed, { 0, current version } on a conflict
--
-- Safe to repeat: the request's key remembers what became of it, so a second run answers the same and writes nothing.
local done = redis.call('GET', KEYS[4])
if done then
  return { 1, done }
end
local head = redis.call('HMGET', KEYS[1], 'version', 'digest', 'document')
local whole = head[1] and head[2] and head[3]
local version = whole and head[1] or '0'
if version ~= ARGV[1] or (whole and head[2] ~= ARGV[2]) then
  return { 0, version }
end
local time = redis.call('TIME')
local at = time[1] .. string.format('%03d', math.floor(tonumber(time[2]) / 1000))
-- First what can fail (a key of another type, memory), then the head: a script that stops half way undoes nothing.
if ARGV[11] == '1' then
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[9], '*', 'version', ARGV[3], 'digest', ARGV[5],
    'follows', ARGV[1], 'on', ARGV[2], 'document', ARGV[4])
else
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[9], '*', 'version', ARGV[3])
end
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4], ARGV[3] .. ':meta', ARGV[7], ARGV[3] .. ':at', at)
redis.call('HSET', KEYS[1], 'version', ARGV[3], 'digest', ARGV[5], 'document', ARGV[4], 'trail', ARGV[6])
redis.call('SET', KEYS[4], ARGV[3], 'EX', ARGV[10])
local kept = {}
for _, field in ipairs(redis.call('HKEYS', KEYS[2])) do
  local number = tonumber(field)
  if number then
    kept[#kept + 1] = number
  end
end
table.sort(kept, function(a, b) return a > b end)
for index = tonumber(ARGV[8]) + 1, #kept do
  local old = string.format('%d', kept[index])
  redis.call('HDEL', KEYS[2], old, old .. ':meta', old .. ':at')
end
return { 1, ARGV[3] }
