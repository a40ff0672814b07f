-- Forgets tasks of one queue that have ended.
-- KEYS: those of base.lua
-- ARGV: 1 'dead' to forget dead letters, 'old' to forget what is past its time or beyond a count, 2 the count, 3 oldest
--       dead letter in ms of age; then, with 'dead', the ids; with 'old', how many at most
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
  local function take(key, count, before)
    local over = call('ZCARD', key) - count
    local got = over > 0 and call('ZRANGE', key, 0, math.min(over, most) - 1)
      or call('ZRANGEBYSCORE', key, '-inf', before, 'LIMIT', 0, most)
    if #got > 0 then call('ZREM', key, unpack(got)) end
    for i = 1, #got do ids[#ids + 1] = got[i] end
  end
  take(RX, tonumber(ARGV[2]), now)
  take(DEAD, tonumber(ARGV[5]), now - tonumber(ARGV[3]))
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
