-- Enqueues tasks of one queue.
-- KEYS: those of base.lua; without unique keys, groups and children only the first 14
-- ARGV: 1 queue, 2 how many, 3 what is special about some as JSON by id, or ''; then id, priority, delay or @time, blob of each
-- returns: for each task the id that stands for it, or '' when it is its own and new
-- Safe to repeat: an id that is there with the same text was added by an earlier run of the same call.
-- @include base
-- @include links

local queue, n = ARGV[1], tonumber(ARGV[2])
local special = ARGV[3] ~= '' and cjson.decode(ARGV[3]) or nil
local now = clock()
local ids = {}
for i = 1, n do ids[i] = ARGV[4 * i] end
local existing = call('HMGET', JOBS, unpack(ids))
local reply, blobs, lists, delayed, seen, added = {}, {}, { {}, {}, {} }, {}, {}, 0

-- A task whose unique key is taken: returns the id that stands for it, or nil when it was put in as the next.
local function collide(s, t, blob, holder, next, untilMs)
  if s.u.mode ~= 'replace' or call('HEXISTS', JOBS, holder) == 0 or call('HEXISTS', RES, holder) == 1 then return holder end
  if call('HEXISTS', OWN, holder) == 1 then
    if next ~= '' then
      call('HSET', JOBS, next, blob)
      t.i = next
      call('HSET', UN, next, cjson.encode(t))
      return next
    end
    call('HSET', JOBS, t.i, blob)
    call('HSET', UN, t.i, cjson.encode(t))
    call('HSET', UQ, s.u.key, untilMs .. '\n' .. holder .. '\n' .. t.i)
    return nil
  end
  -- It has not started: it is taken out of its place and put in anew.
  local mark = call('HGET', GM, holder)
  local admitted = not mark
  if mark and string.sub(mark, 1, 1) == 'H' then call('ZREM', GZ, string.sub(mark, 2)) end
  call('HDEL', GM, holder)
  for p = 0, 2 do
    call('ZREM', DLY, p .. ':' .. holder, p .. 'g' .. holder)
    call('LREM', W[p + 1], 1, holder)
  end
  if t.g and admitted then leave(t.g, now) end
  call('HSET', JOBS, holder, blob)
  t.i = holder
  if tonumber(call('HGET', DEP, holder) or '0') == 0 then place(t, now) end
  return holder
end

for i = 1, n do
  local id, prio, when, blob = ids[i], tonumber(ARGV[4 * i + 1]), ARGV[4 * i + 2], ARGV[4 * i + 3]
  local at = nil
  if when ~= '0' then
    if string.sub(when, 1, 1) == '@' then at = tonumber(string.sub(when, 2)) else at = now + tonumber(when) end
  end
  local s = special and special[id]
  if existing[i] or seen[id] then
    reply[i] = (existing[i] or seen[id]) == blob and not seen[id] and '' or id
  elseif s then
    local t = { i = id, p = prio, a = at, g = s.g }
    local stands = nil
    local held = false
    if s.u then
      local untilMs, holder, next = unique_of(s.u.key)
      local taken = holder and (untilMs > now or (call('HEXISTS', JOBS, holder) == 1 and call('HEXISTS', RES, holder) == 0))
      if taken then
        if holder == id then taken = false else
          stands = collide(s, t, blob, holder, next, untilMs)
          held = true
        end
      end
      if not taken then
        call('HSET', UQ, s.u.key, (s.u.forMs > 0 and now + s.u.forMs or 0) .. '\n' .. id .. '\n')
      end
    end
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
return reply
