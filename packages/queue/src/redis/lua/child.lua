-- Tells a parent that a child has ended.
-- KEYS: those of base.lua, of the parent's queue
-- ARGV: 1 parent, 2 child, 3 result or '', 4 error that ends the parent too, or '', 5 links of the parent as JSON, or '',
--       6 channel for ended ids, 7 queue of the parent
-- returns: 1 when this child was still awaited
-- Safe to repeat: a child counts once.
-- @include base
-- @include links
local parent, child, now = ARGV[1], ARGV[2], clock()
if call('HDEL', DEP, parent .. '\n' .. child) == 0 then return 0 end
if ARGV[3] ~= '' then call('HSET', KID, parent .. '\n' .. child, ARGV[3]) end
-- A parent that was cancelled meanwhile, or whose other child was fatal, waits no more.
if not call('HGET', DEP, parent) then return 1 end
local left = call('HINCRBY', DEP, parent, -1)
if ARGV[4] ~= '' or left <= 0 then call('HINCRBY', ST, 'h:' .. ARGV[7], -1) end
if ARGV[4] ~= '' then
  call('HDEL', DEP, parent)
  call('HSET', RES, parent, 'd|' .. now .. '|\n\n' .. ARGV[4])
  call('ZADD', DEAD, now, parent)
  call('PUBLISH', ARGV[6], parent)
  if ARGV[5] ~= '' then release(cjson.decode(ARGV[5]), now, false, nil, true) end
elseif left <= 0 then
  call('HDEL', DEP, parent)
  local family = call('HGET', KIDS, parent)
  if family then place(cjson.decode(family).task, now) end
end
return 1
