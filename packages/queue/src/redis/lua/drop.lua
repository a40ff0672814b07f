-- Forgets tasks of one queue that have ended.
-- KEYS: those of base.lua
-- ARGV: 1 'dead' to forget dead letters, 'old' to forget what is past its time or beyond a count, 2 the count, 3 oldest
--       dead letter in ms of age; then, with 'dead', the ids; with 'old', 4 how many of either kind at most, 5 the count of
--       dead letters, 6 how many dead letters the other queues have
-- returns: how many were forgotten
-- Safe to repeat: what is gone stays gone.
-- @include base
local now = clock()
local ids = {}
if ARGV[1] == 'dead' then
  for i = 4, #ARGV do
    if call('ZREM', DEAD, ARGV[i]) == 1 then ids[#ids + 1] = ARGV[i] end
  end
else
  local most = tonumber(ARGV[4])
  local many = call('ZCARD', DEAD)
  local over = many - tonumber(ARGV[5])
  local dead = over > 0 and call('ZRANGE', DEAD, 0, math.min(over, most) - 1)
    or call('ZRANGEBYSCORE', DEAD, '-inf', now - tonumber(ARGV[3]), 'LIMIT', 0, most)
  -- What ended with one turn expires together, and is one member; the last one to go may go in part.
  over = call('HLEN', RES) - many - tonumber(ARGV[6]) - tonumber(ARGV[2])
  while #ids < most do
    local group = call('ZRANGE', RX, 0, 0, 'WITHSCORES')
    if not group[1] or (#ids >= over and tonumber(group[2]) > now) then break end
    local limit = tonumber(group[2]) > now and math.min(over, most) or most
    local rest = {}
    for id in string.gmatch(group[1], '[^\n]+') do
      if #ids < limit then ids[#ids + 1] = id else rest[#rest + 1] = id end
    end
    call('ZREM', RX, group[1])
    if #rest > 0 then call('ZADD', RX, group[2], table.concat(rest, '\n')) end
  end
  if #dead > 0 then call('ZREM', DEAD, unpack(dead)) end
  for i = 1, #dead do ids[#ids + 1] = dead[i] end
end
if #ids == 0 then return 0 end
local families = call('HMGET', KIDS, unpack(ids))
for i = 1, #ids do
  if families[i] then
    for _, child in ipairs(cjson.decode(families[i]).children) do
      call('HDEL', KID, ids[i] .. '\n' .. child)
      call('HDEL', DEP, ids[i] .. '\n' .. child)
    end
  end
end
for _, key in ipairs({ JOBS, RES, ATT, NOTE, LOG, DEP, KIDS }) do call('HDEL', key, unpack(ids)) end
return #ids
