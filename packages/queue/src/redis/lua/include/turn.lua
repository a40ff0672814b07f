-- The turn itself. What it needs of links.lua is used only for tasks that have links, or groups that fall due.
local worker, queue, turn = ARGV[1], ARGV[2], tonumber(ARGV[3])
local want = tonumber(ARGV[6])
local nQuotas, nDone, nOther = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local links = ARGV[12] ~= '' and cjson.decode(ARGV[12]) or {}
local keep, stride = tonumber(ARGV[13]), ARGV[14] == '1' and 1 or 2
local full = #KEYS > 14
local now = clock()
-- Written out once: making text of a number is among the dearest things a script does.
local stamp, priorities = string.format('%d', now), { '0', '1', '2' }
-- Turns of even and odd numbers are two rows of their own, so that two may be under way at once.
local field = 'n:' .. queue .. '\n' .. worker .. '\n' .. turn % 2
local of = ':' .. queue
local conf = call('HMGET', CFG, 'p*', 'p' .. of, 'c' .. of, 'r' .. of, 't' .. of, 'w', field, 'f', 'd' .. of)
-- What this turn changes there is written at once: every call costs about as much as a task.
local changes = {}
local function change(name, value)
  changes[#changes + 1] = name
  changes[#changes + 1] = value
end

-- Texts are JSON, where a line break has no meaning; ours have none, but somebody may have put one in by hand.
local function line(text)
  return string.find(text, '\n', 1, true) and string.gsub(text, '\n', ' ') or text
end

if conf[7] then
  local break_at = string.find(conf[7], '\n', 1, true)
  local last = tonumber(string.sub(conf[7], 1, break_at - 1))
  if turn < last then return { stamp .. '   0' } end
  if turn == last then
    local ids, blobs, tokens, counts = {}, {}, {}, {}
    for id in string.gmatch(string.sub(conf[7], break_at + 1), '[^\n]+') do
      local own, blob = call('HGET', OWN, id), call('HGET', JOBS, id)
      if own and blob then
        local token, by, a, s = string.match(own, '^(%d+)|([^|]*)|%d|%d+|(%d+)|(%d+)')
        if by == worker then
          ids[#ids + 1] = id
          blobs[#blobs + 1] = line(blob)
          tokens[#tokens + 1] = token
          counts[#counts + 1] = #tokens
          counts[#counts + 1] = a .. '|' .. s
        end
      end
    end
    return { stamp .. ' 1  0', table.concat(ids, '\n'), table.concat(blobs, '\n'), {}, counts, tokens }
  end
end

local lost, ended, nEnded = {}, {}, 0
if nDone + nOther > 0 then
  local base = 14 + 2 * nQuotas
  local other = base + stride * nDone
  local ids, tokens = {}, {}
  for i = 1, nDone do
    local claim = ARGV[base + stride * (i - 1) + 1]
    local bar = string.find(claim, '|', 1, true)
    tokens[i] = string.sub(claim, 1, bar)
    ids[i] = string.sub(claim, bar + 1)
  end
  for i = 1, nOther do ids[nDone + i] = ARGV[other + 7 * i - 6] end
  local owns = call('HMGET', OWN, unpack(ids))
  local free, records, gone, failed = {}, {}, {}, 0
  local nFree, nRecords, completed = 0, 0, 0
  -- Records that are kept equally long share one member of the set of expiries: it is the dearest write of them all.
  local expiries = {}
  local function record(id, text, ms)
    records[nRecords + 1], records[nRecords + 2] = id, text
    nRecords = nRecords + 2
    if ms then
      local group = expiries[ms] or {}
      expiries[ms] = group
      group[#group + 1] = id
    end
  end
  local head = 'c|' .. stamp .. '|'
  local function complete(id, own, ms, result)
    completed, nEnded = completed + 1, nEnded + 1
    ended[nEnded] = id
    if ms > 0 then record(id, head .. own .. '\n\n' .. result, ms) else gone[#gone + 1] = id end
    if links[id] then release(links[id], now, true, result, false) end
  end
  for i = 1, nDone do
    local own, token, id = owns[i], tokens[i], ids[i]
    if own and string.sub(own, 1, #token) == token then
      nFree = nFree + 1
      free[nFree] = id
      complete(id, own, keep, stride == 1 and '' or ARGV[base + 2 * i])
    else
      lost[#lost + 1] = id
    end
  end
  for i = 1, nOther do
    local at = other + 7 * i
    local own, token, id = owns[nDone + i], ARGV[at - 5], ids[nDone + i]
    if own and string.sub(own, 1, #token) == token then
      nFree = nFree + 1
      free[nFree] = id
      local kind, prio, ms, counted, err = ARGV[at - 4], tonumber(ARGV[at - 3]), tonumber(ARGV[at - 2]), tonumber(ARGV[at - 1]), ARGV[at]
      local break_at = string.find(own, '\n', 1, true)
      if (kind == 'r' or kind == 'b') and break_at then
        -- Somebody cancelled it while it ran: it is not run again.
        kind, ms, counted, err = 'x', 3600000, 0, string.sub(own, break_at + 1)
      end
      if kind == 'c' then
        complete(id, own, ms, err)
      elseif kind == 'b' then
        call('RPUSH', W[prio + 1], id)
        call('ZADD', MK, '0', '0')
      elseif kind == 'r' then
        local a, s = string.match(own, '^%d+|[^|]*|%d|%d+|(%d+)|(%d+)')
        call('HSET', ATT, id, (a + counted) .. '|' .. s .. '|' .. err)
        failed = failed + counted
        local g = links[id] and links[id].g
        local when = now + ms
        if g then when = slot(g.rate, g.key, when) end
        if when > now then
          call('ZADD', DLY, when, prio .. ':' .. id)
        else
          call('LPUSH', W[prio + 1], id)
        end
        call('ZADD', MK, '0', '0')
      else
        nEnded = nEnded + 1
        ended[nEnded] = id
        failed = failed + counted
        local text = (counted == 1 and string.upper(kind) or kind) .. '|' .. stamp .. '|' .. own .. '\n\n' .. err
        if kind == 'd' then
          record(id, text)
          call('ZADD', DEAD, stamp, id)
        elseif ms > 0 then
          record(id, text, ms)
        else
          gone[#gone + 1] = id
        end
        if links[id] then release(links[id], now, true, nil, true) end
      end
    else
      lost[#lost + 1] = id
    end
  end
  if nFree > 0 then call('HDEL', OWN, unpack(free)) end
  if nRecords > 0 then call('HSET', RES, unpack(records)) end
  for ms, group in pairs(expiries) do call('ZADD', RX, now + ms, table.concat(group, '\n')) end
  if #gone > 0 then call('HDEL', JOBS, unpack(gone)) end
  if nEnded > 0 and ARGV[8] == '1' then call('HDEL', ATT, unpack(ended)) end
  if completed > 0 then change('d' .. of, string.format('%d', (conf[9] or 0) + completed)) end
  if failed > 0 then call('HINCRBY', ST, 'x:' .. queue, failed) end
  -- With a limit on concurrency, every end makes room for whoever waits.
  if conf[3] and nFree > 0 then call('ZADD', MK, '0', '0') end
  if conf[6] and tonumber(conf[6]) > now and nEnded > 0 then call('PUBLISH', ARGV[7], table.concat(ended, '\n')) end
end

local needs_all, more_due = '', false
-- Mostly nothing is delayed and nothing has failed before.
local unusual = call('EXISTS', DLY, ATT) > 0
local due = unusual and call('ZRANGEBYSCORE', DLY, '-inf', stamp, 'LIMIT', '0', '500') or {}
if #due > 0 then
  local lists, moved = { {}, {}, {} }, {}
  for _, member in ipairs(due) do
    local prio, id = tonumber(string.sub(member, 1, 1)), string.sub(member, 3)
    if string.sub(member, 2, 2) == ':' then
      moved[#moved + 1] = member
      local list = lists[prio + 1]
      list[#list + 1] = id
    elseif full then
      moved[#moved + 1] = member
      local mark = call('HGET', GM, id)
      call('HDEL', GM, id)
      if mark then enter(cjson.decode(string.sub(mark, 2)), id, prio, now) end
    else
      needs_all = '1'
    end
  end
  if #moved > 0 then call('ZREM', DLY, unpack(moved)) end
  for p = 1, 3 do
    if #lists[p] > 0 then call('LPUSH', W[p], unpack(lists[p])) end
  end
  more_due = #due == 500
end

local next, nIds, nKept, first = -1, 0, 0, 0
local names, blobs, counts = '', {}, {}
if want > 0 and not conf[1] and not conf[2] then
  local allowed = want
  if conf[3] then allowed = math.max(0, math.min(allowed, tonumber(conf[3]) - call('HLEN', OWN))) end
  local rate, tat = nil, nil
  if conf[4] and allowed > 0 then
    local limit, per = string.match(conf[4], '^(%d+)|(%d+)')
    rate = per / limit
    tat = math.max(tonumber(conf[5] or '0'), now)
    local room = now + tonumber(per) - tat
    local tokens = math.floor(room / rate + 1e-6)
    if tokens <= 0 then next = math.max(1, math.ceil(rate - room)) end
    allowed = math.max(0, math.min(allowed, tokens))
  end
  local ids, prios, empty = {}, {}, {}
  local function pop(list, count)
    if count <= 0 or empty[list] then return end
    local got = call('RPOP', W[list], count)
    local n = got and #got or 0
    empty[list] = n < count
    for i = 1, n do
      ids[nIds + i] = got[i]
      prios[nIds + i] = list
    end
    nIds = nIds + n
  end
  for i = 1, nQuotas do
    pop(tonumber(ARGV[13 + 2 * i]) + 1, math.min(tonumber(ARGV[14 + 2 * i]), allowed - nIds))
  end
  for list = 1, 3 do pop(list, allowed - nIds) end
  if nIds > 0 then
    local texts = call('HMGET', JOBS, unpack(ids))
    local attempts = unusual and call('HMGET', ATT, unpack(ids)) or {}
    first = (conf[8] or 0) + 1
    change('f', string.format('%d', first + nIds - 1))
    local owns, kept, tails = {}, {}, {}
    for i = 1, nIds do
      local id, text, list = ids[i], texts[i], prios[i]
      if text then
        local before = '0|0'
        if attempts[i] then
          before = string.match(attempts[i], '^%d+|%d+')
          counts[#counts + 1] = nKept + 1
          counts[#counts + 1] = before
        end
        owns[2 * nKept + 1] = id
        tails[list] = tails[list] or '|' .. worker .. '|' .. priorities[list] .. '|' .. stamp .. '|'
        owns[2 * nKept + 2] = string.format('%d', first + nKept) .. tails[list] .. before
        nKept = nKept + 1
        kept[nKept] = id
        blobs[nKept] = line(text)
      end
    end
    -- Redis packs a hash of up to 128 short values into a list, which it reads through for every field. A value this long
    -- makes a table of it; that stays when the value is gone.
    local many = nKept >= 32
    if many then owns[2 * nKept + 1], owns[2 * nKept + 2] = '', string.rep('-', 65) end
    if nKept > 0 then call('HSET', OWN, unpack(owns)) end
    if many then call('HDEL', OWN, '') end
    names = table.concat(kept, '\n')
    change(field, ARGV[3] .. '\n' .. names)
    if rate then change('t' .. of, tat + nIds * rate) end
    -- Whoever waits is woken in a chain, one by one, as long as there may be more.
    if nIds == want then call('ZADD', MK, '0', '0') end
  elseif ARGV[4] == '1' then
    change(field, ARGV[3] .. '\n')
  end
  if nIds < want then
    if more_due then
      next = 1
    elseif unusual then
      local head = call('ZRANGE', DLY, 0, 0, 'WITHSCORES')
      if head[2] then
        local wait = math.max(1, math.ceil(head[2] - now))
        if next < 0 or wait < next then next = wait end
      end
    end
  end
end
if #changes > 0 then call('HSET', CFG, unpack(changes)) end
local lease = tonumber(ARGV[5])
if lease > 0 then call('ZADD', WL, now + lease, worker) end
local said = stamp .. ' ' .. (next < 0 and '' or next) .. ' ' .. needs_all .. ' ' .. first
if #lost + #counts > 0 then return { said, names, table.concat(blobs, '\n'), lost, counts } end
if nKept == 0 then return { said } end
return { said, names, table.concat(blobs, '\n') }
