-- Cancels tasks of one queue: what has not started ends now, what runs is marked for its worker.
-- KEYS: those of base.lua
-- ARGV: 1 why, as JSON, 2 how long the records are kept, 3 channel for ended ids, 4 channel for cancellations, 5 links as
--       JSON by id, or '', 6 queue; ids
-- returns: for each id 'cancelled', 'requested' or 'none'
-- Safe to repeat: an ended task is left alone, and a mark is set once.
-- @include base
-- @include links
local now = clock()
local why, keep = ARGV[1], tonumber(ARGV[2])
local links = ARGV[5] ~= '' and cjson.decode(ARGV[5]) or {}
local reply, ended = {}, {}
for i = 7, #ARGV do
  local id = ARGV[i]
  local own = call('HGET', OWN, id)
  if own then
    if not string.find(own, '\n', 1, true) then call('HSET', OWN, id, own .. '\n' .. why) end
    call('PUBLISH', ARGV[4], id .. '\n' .. why)
    reply[#reply + 1] = 'requested'
  elseif call('HEXISTS', JOBS, id) == 0 or call('HEXISTS', RES, id) == 1 then
    reply[#reply + 1] = 'none'
  else
    local mark = call('HGET', GM, id)
    local parent = tonumber(call('HGET', DEP, id) or '0') > 0
    if parent then call('HINCRBY', ST, 'h:' .. ARGV[6], -1) end
    local unborn = call('HDEL', UN, id) + (parent and 1 or 0)
    call('HDEL', GM, id)
    if mark and string.sub(mark, 1, 1) == 'H' then call('ZREM', GZ, string.sub(mark, 2)) end
    for p = 0, 2 do
      if call('ZREM', DLY, p .. ':' .. id, p .. 'g' .. id) == 0 and not mark and unborn == 0 then
        call('LREM', W[p + 1], -1, id)
      end
    end
    local before = string.match(call('HGET', ATT, id) or '0|0', '^%d+|%d+')
    call('HSET', RES, id, 'x|' .. now .. '|||||' .. before .. '\n\n' .. why)
    call('HDEL', ATT, id)
    call('ZADD', RX, now + keep, id)
    call('HDEL', DEP, id)
    ended[#ended + 1] = id
    reply[#reply + 1] = 'cancelled'
    if links[id] then release(links[id], now, not mark and unborn == 0, nil, true) end
  end
end
if #ended > 0 then call('PUBLISH', ARGV[3], table.concat(ended, '\n')) end
return reply
