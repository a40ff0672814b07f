-- What moves besides the task itself: its group, its unique key, its parent. All of it is in declared keys.

-- The earliest time a rate lets the next task pass; takes the place.
local function slot(rate, key, earliest)
  if not rate then return earliest end
  local limit, per = rate.limit, rate.per
  local tat = math.max(tonumber(call('HGET', GT, key) or '0'), earliest)
  call('HSET', GT, key, tat + per / limit)
  return math.max(earliest, math.ceil(tat + per / limit - per))
end

local function admit(group, id, prio, now)
  call('HINCRBY', GA, group.key, 1)
  local at = slot(group.rate, group.key, now)
  if at > now then
    call('ZADD', DLY, at, prio .. ':' .. id)
  else
    call('LPUSH', W[prio + 1], id)
  end
  call('ZADD', MK, 0, '0')
end

local function first_held(key)
  return call('ZRANGEBYLEX', GZ, '[' .. key .. '\n', '(' .. key .. '\11', 'LIMIT', 0, 1)[1]
end

-- Lets a task into its queue, or holds it until its group has room.
local function enter(group, id, prio, now)
  call('HSET', GC, group.key, cjson.encode(group))
  local admitted = tonumber(call('HGET', GA, group.key) or '0')
  if admitted >= group.concurrency or first_held(group.key) then
    local member = group.key .. '\n' .. string.format('%016d', call('HINCRBY', ST, 'gs', 1)) .. '\n' .. prio .. '\n' .. id
    call('ZADD', GZ, 0, member)
    call('HSET', GM, id, 'H' .. member)
  else
    admit(group, id, prio, now)
  end
end

-- An admitted task has reached its end: the next ones may come in.
local function leave(group, now)
  local key = group.key
  local admitted = call('HINCRBY', GA, key, -1)
  local rule = call('HGET', GC, key)
  local current = rule and cjson.decode(rule) or group
  while admitted < current.concurrency do
    local member = first_held(key)
    if not member then break end
    local prio, id = string.match(member, '\n%d+\n(%d)\n(.*)$')
    call('ZREM', GZ, member)
    call('HDEL', GM, id)
    admit(current, id, tonumber(prio), now)
    admitted = admitted + 1
  end
  if admitted <= 0 then
    call('HDEL', GA, key)
    call('HDEL', GC, key)
  end
end

-- Puts a new or released task where it belongs. t: i id, p priority, a not before, g group.
local function place(t, now)
  if t.a and t.a > now then
    if t.g then
      call('HSET', GM, t.i, 'D' .. cjson.encode(t.g))
      call('ZADD', DLY, t.a, t.p .. 'g' .. t.i)
    else
      call('ZADD', DLY, t.a, t.p .. ':' .. t.i)
    end
  elseif t.g then
    enter(t.g, t.i, t.p, now)
  else
    call('LPUSH', W[t.p + 1], t.i)
  end
  call('ZADD', MK, 0, '0')
end

-- The value of a unique key is until, holder, next and their queue, one a line.
local function unique_value(untilMs, holder, next, queue)
  return untilMs .. '\n' .. holder .. '\n' .. next .. '\n' .. queue
end

local function unique_of(key)
  local value = call('HGET', UQ, key)
  if not value then return nil end
  local untilMs, holder, next, queue = string.match(value, '^([^\n]*)\n([^\n]*)\n([^\n]*)\n(.*)$')
  return tonumber(untilMs), holder, next, queue
end

local function release_unique(key, id, now)
  local untilMs, holder, next, queue = unique_of(key)
  if not holder then return end
  if holder ~= id then
    if next == id then call('HSET', UQ, key, unique_value(untilMs, holder, '', queue)) end
    return
  end
  if next ~= '' then
    -- It is of the same queue: only there one waits for a key.
    call('HSET', UQ, key, unique_value(0, next, '', queue))
    local waiting = call('HGET', UN, next)
    if waiting then
      call('HDEL', UN, next)
      place(cjson.decode(waiting), now)
    end
  elseif untilMs <= now then
    call('HDEL', UQ, key)
  end
end

-- After a task's end. e: i id, u unique key, g group, p parent {id, onFailure}; admitted: it counts in its group.
local function release(e, now, admitted, result, failed)
  if e.u then release_unique(e.u, e.i, now) end
  if e.g and admitted then leave(e.g, now) end
  -- The parent may live in another slot: what it has to be told lies here until somebody has told it.
  if e.p then
    local fatal = failed and e.p.onFailure == 'fail'
    call('HSET', OB, e.i, cjson.encode({ parent = e.p.id, result = result, fatal = fatal }))
  end
end

-- Where the string that begins at `from` ends.
local function string_end(text, from)
  local at = string.find(text, '["\\]', from + 1)
  while string.sub(text, at, at) ~= '"' do at = string.find(text, '["\\]', at + 2) end
  return at
end

-- The options in a task's text, or nil. The payload behind them is left out: it may be nested deeper than cjson reads.
local function options_in(text)
  local at, depth, commas = 2, 0, 0
  while true do
    local found = string.find(text, '["%[%]{},]', at)
    local char = string.sub(text, found, found)
    if char == '"' then
      found = string_end(text, found)
    elseif char == '[' or char == '{' then
      depth = depth + 1
    elseif char ~= ',' then
      depth = depth - 1
    elseif depth == 0 then
      commas = commas + 1
    end
    if depth < 0 or commas == 4 then
      local options = cjson.decode(string.sub(text, 1, found - 1) .. ']')[4]
      return type(options) == 'table' and options or nil
    end
    at = found + 1
  end
end

-- The same, read from a task's own text.
local function links_of(id)
  local options = options_in(call('HGET', JOBS, id))
  if not options then return { i = id } end
  return { i = id, u = options.u and options.u.key, g = options.g, p = options.f }
end

-- Takes a claim from a worker that gives it up or was lost. What was to be cancelled ends here; returns whether it did.
local function end_if_cancelled(id, own, now, channel)
  local break_at = string.find(own, '\n', 1, true)
  if not break_at then return false end
  call('HDEL', OWN, id)
  call('HSET', RES, id, 'x|' .. now .. '|' .. own .. '\n\n' .. string.sub(own, break_at + 1))
  call('ZADD', RX, now + 3600000, id)
  call('HDEL', ATT, id)
  release(links_of(id), now, true, nil, true)
  call('PUBLISH', channel, id)
  return true
end
