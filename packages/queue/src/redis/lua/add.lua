-- Enqueues tasks of one queue.
-- KEYS: those of base.lua; without unique keys, groups and children only the first 14
-- ARGV: 1 queue, 2 how many, 3 what is special about some as JSON by id, or ''; then priority, delay or @time, ':' and id in
--       one text, and the blob, of each
-- returns: for each task the id that stands for it, or '' when it is its own and new; nothing when all are
-- Safe to repeat: an id that is there with the same text was added by an earlier run of the same call.
-- @include base
-- @include links
-- @include unique

local queue, n = ARGV[1], tonumber(ARGV[2])
local special = ARGV[3] ~= '' and cjson.decode(ARGV[3]) or nil
local now = clock()
local ids = {}
local prios, whens = {}, {}
for i = 1, n do
  local head = ARGV[2 * i + 2]
  local colon = string.find(head, ':', 2, true)
  prios[i] = tonumber(string.sub(head, 1, 1))
  whens[i] = string.sub(head, 2, colon - 1)
  ids[i] = string.sub(head, colon + 1)
end
local existing = call('HMGET', JOBS, unpack(ids))
local reply, blobs, lists, delayed, seen, added = {}, {}, { {}, {}, {} }, {}, {}, 0

for i = 1, n do
  local id, prio, when, blob = ids[i], prios[i], whens[i], ARGV[2 * i + 3]
  local at = nil
  if when ~= '' then
    if string.sub(when, 1, 1) == '@' then at = tonumber(string.sub(when, 2)) else at = now + tonumber(when) end
  end
  local s = special and special[id]
  if existing[i] or seen[id] then
    reply[i] = (existing[i] or seen[id]) == blob and not seen[id] and '' or id
  elseif s then
    local t = { i = id, p = prio, a = at, g = s.g }
    local stands = nil
    local held = false
    if s.u then stands, held = take_key(s, t, blob, queue, now) end
    reply[i] = stands or ''
    if not stands then
      added = added + 1
      seen[id] = blob
      call('HSET', JOBS, id, blob)
      if not held then
        if s.c then
          for _, child in ipairs(s.c) do call('HSET', DEP, id .. '\n' .. child, '1') end
          call('HSET', DEP, id, #s.c)
          call('HINCRBY', ST, 'h:' .. queue, 1)
          call('HSET', KIDS, id, cjson.encode({ children = s.c, task = t }))
        else
          place(t, now)
        end
      end
    end
  else
    reply[i] = ''
    added = added + 1
    seen[id] = blob
    blobs[#blobs + 1] = id
    blobs[#blobs + 1] = blob
    if at and at > now then
      delayed[#delayed + 1] = at
      delayed[#delayed + 1] = prio .. ':' .. id
    else
      local list = lists[prio + 1]
      list[#list + 1] = id
    end
  end
end

if #blobs > 0 then
  call('HSET', JOBS, unpack(blobs))
  for p = 1, 3 do
    if #lists[p] > 0 then call('LPUSH', W[p], unpack(lists[p])) end
  end
  if #delayed > 0 then call('ZADD', DLY, unpack(delayed)) end
  call('ZADD', MK, 0, '0')
end
if added > 0 then call('HINCRBY', ST, 'e:' .. queue, added) end
-- Most calls have nothing to tell.
for i = 1, n do
  if reply[i] ~= '' then return reply end
end
return {}
