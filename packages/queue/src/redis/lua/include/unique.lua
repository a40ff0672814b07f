-- Unique keys of tasks that come in. They are the partition's, so that a key is one over all its queues.

-- The key is taken: returns the id that stands for the task, or nil when it was put in as the next.
local function collide(s, t, blob, taken)
  local holder, next = taken.holder, taken.next
  -- What waits in another queue stays as it is: its places are not among the keys of this script.
  if s.u.mode ~= 'replace' or taken.queue ~= taken.by then return holder end
  if call('HEXISTS', JOBS, holder) == 0 or call('HEXISTS', RES, holder) == 1 then return holder end
  if call('HEXISTS', OWN, holder) == 1 then
    if next ~= '' then
      call('HSET', JOBS, next, blob)
      t.i = next
      call('HSET', UN, next, cjson.encode(t))
      return next
    end
    call('HSET', JOBS, t.i, blob)
    call('HSET', UN, t.i, cjson.encode(t))
    call('HSET', UQ, s.u.key, unique_value(taken.untilMs, holder, t.i, taken.queue))
    return nil
  end
  -- It has not started: it is taken out of its place and put in anew.
  -- It was admitted to the group that its own text names, if it was.
  local old = options_in(call('HGET', JOBS, holder))
  local group = old and old.g
  local mark = call('HGET', GM, holder)
  local admitted = group and not mark
  if mark and string.sub(mark, 1, 1) == 'H' then call('ZREM', GZ, string.sub(mark, 2)) end
  call('HDEL', GM, holder)
  for p = 0, 2 do
    call('ZREM', DLY, p .. ':' .. holder, p .. 'g' .. holder)
    call('LREM', W[p + 1], 1, holder)
  end
  if admitted then leave(group, taken.now) end
  call('HDEL', ATT, holder)
  call('HSET', JOBS, holder, blob)
  t.i = holder
  if tonumber(call('HGET', DEP, holder) or '0') == 0 then place(t, taken.now) end
  return holder
end

-- Takes the key of a new task. Returns the id that stands for it if it is not new, and whether it waits for the key.
local function take_key(s, t, blob, queue, now)
  local untilMs, holder, next, of = unique_of(s.u.key)
  local live = holder and (untilMs > now or (call('HEXISTS', JOBS, holder) == 1 and call('HEXISTS', RES, holder) == 0))
  if live and holder ~= t.i then
    local taken = { untilMs = untilMs, holder = holder, next = next, queue = of, by = queue, now = now }
    return collide(s, t, blob, taken), true
  end
  if not live then
    call('HSET', UQ, s.u.key, unique_value(s.u.forMs > 0 and now + s.u.forMs or 0, t.i, '', queue))
  end
  return nil, false
end
